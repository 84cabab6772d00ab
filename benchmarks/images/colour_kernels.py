"""`Colour.apply` on a GPU in one or two passes over the bytes, as Triton kernels.

The same numbers as the steps in `benchmarks.images.colour` and `benchmarks.images.hue`, which
say where each comes from: nothing is contracted (a GPU would make `a * b + c` one rounding), and
divisions are rounded as IEEE 754 has it. Triton comes with torch where torch has CUDA.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS = 1024  # of a program

BRIGHTNESS: tl.constexpr = tl.constexpr(0)  # torchvision's numbers
CONTRAST: tl.constexpr = tl.constexpr(1)
SATURATION: tl.constexpr = tl.constexpr(2)
HUE: tl.constexpr = tl.constexpr(3)
SPREADS: tl.constexpr = tl.constexpr(256)  # of the tables of hue
DIFFERENCES: tl.constexpr = tl.constexpr(511)


@triton.jit
def _luma(red, green, blue):
    """PIL's mode L of whole numbers in float32: below 2**24, so exact."""
    return tl.floor((red * 19595.0 + green * 38470.0 + blue * 7471.0 + 32768.0) * (1.0 / 65536))


@triton.jit
def _blend(value, other, factor):
    return tl.floor(tl.minimum(tl.maximum((value - other) * factor + other, 0.0), 255.0))


@triton.jit
def _turn_hue(red, green, blue, turn, hues, saturations, shares):
    r, g, b = red.to(tl.int32), green.to(tl.int32), blue.to(tl.int32)
    highest = tl.maximum(tl.maximum(r, g), b)
    spread = highest - tl.minimum(tl.minimum(r, g), b)
    first, second = r == highest, g == highest
    difference = tl.where(first, g - b, tl.where(second, b - r, r - g))
    sector = tl.where(first, 0, tl.where(second, 1, 2))
    hue = tl.load(hues + (sector * SPREADS + spread) * DIFFERENCES + difference + 255)
    saturation = tl.load(saturations + highest * 256 + spread).to(tl.int32)
    turned = ((hue.to(tl.int32) + turn) % 256) * 256 + saturation
    top = highest.to(tl.float64)
    red = tl.floor(tl.load(shares + turned) * top + 0.5).to(tl.float32)
    green = tl.floor(tl.load(shares + 65536 + turned) * top + 0.5).to(tl.float32)
    blue = tl.floor(tl.load(shares + 131072 + turned) * top + 0.5).to(tl.float32)
    return red, green, blue


@triton.jit
def _read(pixels, image, places, inside, count):
    at = pixels + (image * count + places) * 3
    red = tl.load(at, mask=inside, other=0).to(tl.float32)
    green = tl.load(at + 1, mask=inside, other=0).to(tl.float32)
    blue = tl.load(at + 2, mask=inside, other=0).to(tl.float32)
    return red, green, blue


@triton.jit
def _sums_before_contrast(
    pixels, order, factors, hues, saturations, shares, sums, count,
    STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add to `sums` (N,) int64 the luma of each image as it is when its contrast is changed."""
    image = tl.program_id(1).to(tl.int64)
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = places < count
    red, green, blue = _read(pixels, image, places, inside, count)
    before = 1
    for step in tl.static_range(STEPS):
        operation = tl.load(order + image * STEPS + step).to(tl.int32)
        factor = tl.load(factors + image * 4 + operation)
        if operation == CONTRAST:
            before = 0
        if before == 1:
            if operation == BRIGHTNESS:
                red = _blend(red, 0.0, factor)
                green = _blend(green, 0.0, factor)
                blue = _blend(blue, 0.0, factor)
            if operation == SATURATION:
                luma = _luma(red, green, blue)
                red = _blend(red, luma, factor)
                green = _blend(green, luma, factor)
                blue = _blend(blue, luma, factor)
            if operation == HUE:
                red, green, blue = _turn_hue(
                    red, green, blue, factor.to(tl.int32), hues, saturations, shares
                )
    luma = tl.where(inside, _luma(red, green, blue), 0.0)
    tl.atomic_add(sums + image, tl.sum(luma.to(tl.int32)).to(tl.int64))


@triton.jit
def _apply(
    pixels, order, factors, grey, light, hues, saturations, shares, sums, mean, std, out, count,
    STEPS: tl.constexpr, GREY: tl.constexpr, LIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write `out` (N, 3, H, W) float32 in the order (N, H, W, 3)."""
    image = tl.program_id(1).to(tl.int64)
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = places < count
    red, green, blue = _read(pixels, image, places, inside, count)
    for step in tl.static_range(STEPS):
        operation = tl.load(order + image * STEPS + step).to(tl.int32)
        factor = tl.load(factors + image * 4 + operation)
        if operation == BRIGHTNESS:
            red = _blend(red, 0.0, factor)
            green = _blend(green, 0.0, factor)
            blue = _blend(blue, 0.0, factor)
        if operation == CONTRAST:
            total = tl.load(sums + image).to(tl.float64)
            middle = tl.floor(total / count.to(tl.float64) + 0.5).to(tl.float32)
            red = _blend(red, middle, factor)
            green = _blend(green, middle, factor)
            blue = _blend(blue, middle, factor)
        if operation == SATURATION:
            luma = _luma(red, green, blue)
            red = _blend(red, luma, factor)
            green = _blend(green, luma, factor)
            blue = _blend(blue, luma, factor)
        if operation == HUE:
            red, green, blue = _turn_hue(
                red, green, blue, factor.to(tl.int32), hues, saturations, shares
            )
    if GREY:
        if tl.load(grey + image) != 0:
            luma = _luma(red, green, blue)
            red, green, blue = luma, luma, luma
    red, green, blue = _div(red, 255.0), _div(green, 255.0), _div(blue, 255.0)
    if LIGHT:
        red += tl.load(light + image * 3)
        green += tl.load(light + image * 3 + 1)
        blue += tl.load(light + image * 3 + 2)
    at = out + (image * count + places) * 3
    tl.store(at, _div(red - tl.load(mean), tl.load(std)), mask=inside)
    tl.store(at + 1, _div(green - tl.load(mean + 1), tl.load(std + 1)), mask=inside)
    tl.store(at + 2, _div(blue - tl.load(mean + 2), tl.load(std + 2)), mask=inside)


@triton.jit
def _div(value, by):
    """Rounded to nearest, which a plain `/` of Triton's is not."""
    return tl.div_rn(value, tl.zeros_like(value) + by)


class Changes(NamedTuple):
    """What happens to N images, on their device."""

    order: Tensor  # (N, S) uint8: their operations one after another; S may be 0
    factors: Tensor  # (N, 4) float32, by operation
    grey: Tensor | None  # (N,) bool
    light: Tensor | None  # (N, 3) float32
    tables: tuple[Tensor, Tensor, Tensor]  # of hue


def change(
    pixels: Tensor, changes: Changes, normalisations: Sequence[tuple[Tensor, Tensor]]
) -> list[Tensor]:
    """From uint8 (N, H, W, 3) to float32 (N, 3, H, W), channels last, for each (mean, std).

    `mean` and `std` are float32 (3,); everything lies on one device.
    """
    images, height, width, channels = pixels.shape
    pixels, count = pixels.contiguous(), height * width
    grid = (triton.cdiv(count, PIXELS), images)
    steps = changes.order.shape[1]
    hues, saturations, shares = changes.tables
    sums = torch.zeros(images, dtype=torch.int64, device=pixels.device)
    if steps:
        _sums_before_contrast[grid](
            pixels, changes.order, changes.factors, hues, saturations, shares, sums, count,
            STEPS=steps, BLOCK=PIXELS, enable_fp_fusion=False,
        )  # fmt: skip
    found = []
    for mean, std in normalisations:
        out = torch.empty(images, height, width, channels, device=pixels.device)
        _apply[grid](
            pixels, changes.order, changes.factors,
            sums if changes.grey is None else changes.grey,
            changes.factors if changes.light is None else changes.light,
            hues, saturations, shares, sums, mean, std, out, count,
            STEPS=steps, GREY=changes.grey is not None, LIGHT=changes.light is not None,
            BLOCK=PIXELS, enable_fp_fusion=False,
        )  # fmt: skip
        found.append(out.permute(0, 3, 1, 2))
    return found

"""What happens to the colours of images, for whole batches on the device of the trunk.

Bit for bit what torchvision's transforms do to PIL images. PIL's enhancers (libImaging/Blend.c)
and its luma (Convert.c) are float32 and integer arithmetic on 8 bits; each step here is one that
every device rounds alike. What is random is drawn one image at a time, where the image is decoded,
from torch's generator and in torchvision's order: a `Colour` draws, and later applies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.devices import to_device
from benchmarks.images.hue import hue_tables, turn_hue
from benchmarks.protocols import ImageTransform
from slurm.progress import say

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # torchvision's numbers

# Principal components of ImageNet's RGB values in 0..1 (Krizhevsky et al. 2012, section 4.1; the
# figures are those of fb.resnet.torch, which OpenSelfSup's Lighting uses too).
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


class Draws(NamedTuple):
    """What was drawn for N images; all on the CPU."""

    order: Tensor  # (N, 4) uint8: which operation comes first, second, ...
    factors: Tensor  # (N, 4) float32, by operation; of hue the turn, 0..255
    grey: Tensor  # (N,) bool
    light: Tensor  # (N, 3) float32, added to each channel in 0..1

    @classmethod
    def none(cls, count: int) -> "Draws":
        """Those of `count` images to which nothing happens."""
        return cls(
            torch.arange(4, dtype=torch.uint8).repeat(count, 1),
            torch.tensor([1.0, 1.0, 1.0, 0.0]).repeat(count, 1),
            torch.zeros(count, dtype=torch.bool),
            torch.zeros(count, 3),
        )

    def rows(self, first: int, last: int) -> "Draws":
        """Those of some images."""
        return Draws(*(part[first:last] for part in self))


@dataclass(frozen=True)
class Colour:
    """The part of an `ImageTransform` that changes colours alone."""

    jitter: tuple[float, float, float, float] | None = None  # brightness, contrast, sat., hue
    greyscale: float | None = None  # probability
    lighting: float | None = None  # standard deviation

    @classmethod
    def of(cls, spec: ImageTransform) -> "Colour":
        """The colours of a transform."""
        return cls(spec.jitter, spec.greyscale, spec.lighting)

    @property
    def plain(self) -> bool:
        """Whether nothing is drawn and nothing changed."""
        return self == Colour()

    def draw(self, draws: Draws, row: int) -> None:
        """Draw from torch's generator for one image, and keep it in `row` of `draws`."""
        if self.jitter is not None:
            draws.order.numpy()[row] = torch.randperm(4).numpy()
            factors = draws.factors.numpy()[row]
            drawn = torch.empty(1)
            for operation, bounds in enumerate(_jitter_bounds(self.jitter)):
                factor = None if bounds is None else drawn.uniform_(*bounds).item()
                if operation == HUE:
                    factors[HUE] = int((factor or 0.0) * 255) % 256  # to 0 first, as C does
                else:
                    factors[operation] = 1.0 if factor is None else factor
        if self.greyscale is not None:
            draws.grey.numpy()[row] = not bool(torch.rand(1) >= self.greyscale)
        if self.lighting is not None:
            alpha = torch.randn(3) * self.lighting
            light = torch.tensor(_EIGENVECTORS) @ (alpha * torch.tensor(_EIGENVALUES))
            draws.light.numpy()[row] = light.numpy()

    def apply(
        self, pixels: Tensor, draws: Draws, normalisations: Sequence["Normalise"]
    ) -> list[Tensor]:
        """From uint8 (N, H, W, 3) to float32 (N, 3, H, W) on the same device, once normalised each.

        What comes before is done once for all normalisations.
        """
        if pixels.device.type == "cuda" and _kernels_are_right(pixels.device):
            return self._by_kernels(pixels, draws, normalisations)
        if pixels.device.type != "cpu":
            return self._by_steps(pixels, draws, normalisations)
        count, height, width, channels = pixels.shape
        found = [torch.empty(count, channels, height, width) for _ in normalisations]
        for row in range(count):  # image by image: a CPU's caches hold one
            planes = np.ascontiguousarray(pixels[row].numpy().transpose(2, 0, 1))
            image = torch.from_numpy(planes)[None].float()
            image = self._change(image, draws.rows(row, row + 1))
            for normalise, images in zip(normalisations, found):
                normalise(image, out=images[row : row + 1])
        return found

    def _by_steps(
        self, pixels: Tensor, draws: Draws, normalisations: Sequence["Normalise"]
    ) -> list[Tensor]:
        layout = torch.channels_last  # as a GPU's convolutions want it
        images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
        images = self._change(images, draws)
        return [normalise(images) for normalise in normalisations]

    def _by_kernels(
        self, pixels: Tensor, draws: Draws, normalisations: Sequence["Normalise"]
    ) -> list[Tensor]:
        """What `_by_steps` gives, in one or two passes over the bytes."""
        from benchmarks.images.colour_kernels import Changes, change

        device = pixels.device
        order = draws.order[:, :0] if self.jitter is None else _order(draws, bool(self.jitter[HUE]))
        changes = Changes(
            order=to_device(order.contiguous(), device),
            factors=to_device(draws.factors, device),
            grey=None if self.greyscale is None else to_device(draws.grey, device),
            light=None if self.lighting is None else to_device(draws.light, device),
            tables=hue_tables(device),
        )
        columns = [
            (_columns(one.mean, device), _columns(one.std, device)) for one in normalisations
        ]
        return change(pixels, changes, columns)

    def _change(self, images: Tensor, draws: Draws) -> Tensor:
        if self.jitter is not None:
            images = _jitter(images, draws, hue=bool(self.jitter[HUE]))
        if self.greyscale is not None and bool(draws.grey.any()):
            grey = to_device(draws.grey, images.device)[:, None, None, None]
            images = torch.where(grey, _luma(images), images)
        # Not by the number itself: a GPU would multiply by its reciprocal.
        images.div_(_constant(255.0, torch.float32, images.device))
        if self.lighting is not None:
            images.add_(to_device(draws.light, images.device)[:, :, None, None])
        return images


@dataclass(frozen=True)
class Normalise:
    """Subtract `mean` from images in 0..1 and divide by `std`: torchvision's `Normalize`."""

    mean: tuple[float, ...]  # by channel
    std: tuple[float, ...]

    def __call__(self, images: Tensor, out: Tensor | None = None) -> Tensor:
        """Of images (N, 3, H, W), new ones or those in `out`."""
        mean, std = _columns(self.mean, images.device), _columns(self.std, images.device)
        return torch.sub(images, mean, out=out).div_(std)


@lru_cache(maxsize=16)
def _jitter_bounds(jitter: tuple[float, ...]) -> tuple[tuple[float, float] | None, ...]:
    """Between what torchvision's ColorJitter draws each factor, in the order of its draws."""
    of = v2.ColorJitter(*jitter)
    return of.brightness, of.contrast, of.saturation, of.hue


def _jitter(images: Tensor, draws: Draws, *, hue: bool) -> Tensor:
    """Each image's operations in its own order.

    Images of one order are put side by side, so that nothing is computed for those whose turn it
    is not, and at the end all are put into their own order again.
    """
    order = _order(draws, hue)
    if len(images) == 1:
        for operation in order[0].tolist():
            _OPERATIONS[operation](images, draws.factors[:, operation, None, None])
        return images
    orders, kinds, counts = order.unique(  # type: ignore[no-untyped-call]
        dim=0, return_inverse=True, return_counts=True
    )
    rows = kinds.argsort(stable=True)
    images = images.index_select(0, to_device(rows, images.device))
    factors = to_device(draws.factors[rows], images.device)[:, :, None, None]
    first = 0
    for operations, count in zip(orders.tolist(), counts.tolist()):
        last = first + count
        for operation in operations:
            _OPERATIONS[operation](images[first:last], factors[first:last, operation])
        first = last
    return images.index_select(0, to_device(rows.argsort(), images.device))


def _order(draws: Draws, hue: bool) -> Tensor:
    """Each image's operations, (N, 4), or (N, 3) without that of hue."""
    return draws.order if hue else draws.order[draws.order != HUE].view(len(draws.order), -1)


@lru_cache(maxsize=16)
def _kernels_are_right(device: torch.device) -> bool:
    """Whether Triton is at hand and its kernels give the values of the steps on this device.

    They are tried on noise in all orders; where they fail, the steps are taken, which are slower.
    """
    colour = Colour(jitter=(0.4, 0.4, 1.0, 0.5), greyscale=0.2, lighting=0.1)
    noise = torch.Generator().manual_seed(0)
    orders = torch.tensor(list(permutations(range(4))), dtype=torch.uint8)
    pixels = torch.randint(0, 256, (len(orders), 24, 24, 3), generator=noise, dtype=torch.uint8)
    factors = torch.rand(len(orders), 4, generator=noise) * 2
    factors[:, HUE] = (factors[:, HUE] * 127).floor()
    light = torch.randn(len(orders), 3, generator=noise) * 0.1
    draws = Draws(orders, factors, torch.arange(len(orders)) % 5 == 0, light)
    unit, pixels = [Normalise((0.1, 0.2, 0.3), (0.3, 0.2, 0.1))], pixels.to(device)
    try:
        found = colour._by_kernels(pixels, draws, unit)[0]
    except Exception as error:  # of Triton, which needs a C compiler, or of what it compiles
        say(f"note: colours are changed in many steps, as Triton cannot be used: {error!s:.200}")
        return False
    same = torch.equal(found, colour._by_steps(pixels, draws, unit)[0])
    if not same:
        say("note: colours are changed in many steps, as Triton's kernels give other values here")
    return same


def _luma(images: Tensor) -> Tensor:
    """PIL's mode L of (N, 3, H, W): (N, 1, H, W). All its numbers are below 2**24: exact."""
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    luma = red.mul(19595.0).add_(green, alpha=38470.0).add_(blue, alpha=7471.0).add_(32768.0)
    return luma.mul_(2.0**-16).floor_()


def _blend(images: Tensor, other: Tensor | None, factors: Tensor) -> None:
    """`other` (None: black) + factor * (image - other), cut off to 8 bits, in place."""
    factors = factors[:, None]
    if other is None:
        images.mul_(factors)
    else:
        images.sub_(other).mul_(factors).add_(other)
    images.clamp_(0.0, 255.0).floor_()


def _brighten(images: Tensor, factors: Tensor) -> None:
    _blend(images, None, factors)


def _contrast(images: Tensor, factors: Tensor) -> None:
    luma = _luma(images)
    count = luma.shape[2] * luma.shape[3]
    mean = luma.sum((1, 2, 3), dtype=torch.float64).div_(
        _constant(float(count), torch.float64, images.device)
    )
    _blend(images, mean.add_(0.5).floor_().float()[:, None, None, None], factors)


def _saturate(images: Tensor, factors: Tensor) -> None:
    _blend(images, _luma(images), factors)


_OPERATIONS = {BRIGHTNESS: _brighten, CONTRAST: _contrast, SATURATION: _saturate, HUE: turn_hue}


@lru_cache(maxsize=64)
def _constant(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(value, dtype=dtype, device=device)


@lru_cache(maxsize=64)
def _columns(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)[:, None, None]

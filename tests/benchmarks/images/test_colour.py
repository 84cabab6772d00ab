"""Colours of batches against torchvision's and PIL's of one image, bit for bit."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import ToTensor
from torchvision.transforms.v2 import functional as reference

from benchmarks.images import hue
from benchmarks.images.colour import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    Colour,
    Draws,
    Normalise,
    _jitter,
)
from tests.benchmarks.images.pictures import photo

Pixels = NDArray[np.uint8]


def _noise(seed: int, side: int = 24) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def _primaries() -> Pixels:
    """Every corner and edge of the cube of colours."""
    levels = np.array([0, 1, 2, 127, 128, 254, 255], dtype=np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), -1).reshape(7, 49, 3)


def _greys() -> Pixels:
    return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1).reshape(16, 16, 3)


PICTURES: dict[str, Pixels] = {
    "noise": _noise(0),
    "primaries": _primaries(),
    "greys": _greys(),
    "black": np.zeros((5, 3, 3), dtype=np.uint8),
    "white": np.full((3, 5, 3), 255, dtype=np.uint8),
    "photo": np.asarray(photo(40, 30)),
    "steps": np.where(_noise(1) > 127, 255, 0).astype(np.uint8),
    "dark": (_noise(2) // 64).astype(np.uint8),
}
OPERATIONS: dict[int, Callable[[Image.Image, float], Image.Image]] = {
    BRIGHTNESS: reference.adjust_brightness,
    CONTRAST: reference.adjust_contrast,
    SATURATION: reference.adjust_saturation,
    HUE: reference.adjust_hue,
}
UNIT = [Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))]  # pixels in 0..1 as they are


def _draws(order: tuple[int, ...], factors: tuple[float, ...], count: int = 1) -> Draws:
    draws = Draws.none(count)
    draws.order[:] = torch.tensor(order)
    turn = int(np.int32(factors[HUE] * 255).astype(np.uint8))
    draws.factors[:] = torch.tensor([*factors[:HUE], turn])
    return draws


def _images(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().contiguous()


def _by_pil(pixels: Pixels, order: tuple[int, ...], factors: tuple[float, ...]) -> Tensor:
    image = Image.fromarray(pixels)
    for operation in order:
        image = OPERATIONS[operation](image, factors[operation])
    return _images(np.asarray(image))


factor = st.floats(0, 2, width=32)
turn = st.floats(-0.5, 0.5, width=32)


@pytest.mark.parametrize("name", PICTURES)
@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(4)), b=factor, c=factor, s=factor, h=turn, only=st.integers(0, 4)
)
def test_jitter_is_torchvisions(
    name: str, order: list[int], b: float, c: float, s: float, h: float, only: int
) -> None:
    """Any factors in any order, and each operation alone."""
    factors: tuple[float, ...] = (b, c, s, h)
    if only < 4:
        factors = tuple(
            value if number == only else (0.0 if number == HUE else 1.0)
            for number, value in enumerate(factors)
        )
    found = _jitter(_images(PICTURES[name]), _draws(tuple(order), factors), hue=True)
    assert torch.equal(found, _by_pil(PICTURES[name], tuple(order), factors))


@pytest.mark.parametrize("picture", ["noise", "primaries"])
@pytest.mark.parametrize("factors", [(0.6, 1.4, 1.9, 0.31), (1.4, 0.6, 0.05, -0.5)])
def test_all_orders_at_once_are_each_image_alone(picture: str, factors: tuple[float, ...]) -> None:
    """As on a GPU, where images of one operation are put together."""
    orders = list(permutations(range(4)))
    draws = Draws.none(len(orders))
    for row, order in enumerate(orders):
        for whole, own in zip(draws, _draws(order, factors)):
            whole[row] = own[0]
    pixels = PICTURES[picture]
    together = _jitter(_images(pixels).repeat(len(orders), 1, 1, 1), draws, hue=True)
    for row, order in enumerate(orders):
        assert torch.equal(together[row : row + 1], _by_pil(pixels, order, factors)), order


def test_a_batch_is_its_images_one_by_one() -> None:
    colour = Colour(jitter=(0.4, 0.4, 1.0, 0.5), greyscale=0.4, lighting=0.1)
    pixels = torch.stack([torch.from_numpy(_noise(seed)) for seed in range(12)])
    draws = Draws.none(12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for row in range(12):
            colour.draw(draws, row)
    assert 0 < draws.grey.sum() < 12
    whole = colour._change(pixels.permute(0, 3, 1, 2).float().contiguous(), draws)
    assert torch.equal(whole, colour.apply(pixels, draws, UNIT)[0])
    for row in range(12):
        alone = colour.apply(pixels[row : row + 1], draws.rows(row, row + 1), UNIT)[0]
        assert torch.equal(alone[0], whole[row])


@pytest.mark.parametrize("name", PICTURES)
def test_grey_is_pils_luma(name: str) -> None:
    draws = Draws.none(1)
    draws.grey[:] = True
    pixels = PICTURES[name]
    found = Colour(greyscale=0.2).apply(torch.from_numpy(pixels.copy())[None], draws, UNIT)[0]
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    assert torch.equal(found[0], torch.from_numpy(grey.copy()).div(255).expand(3, -1, -1))


def test_eight_bits_become_torchvisions_floats() -> None:
    found = Colour().apply(torch.from_numpy(_greys().copy())[None], Draws.none(1), UNIT)[0]
    assert torch.equal(found[0], ToTensor()(Image.fromarray(_greys())))


@pytest.mark.parametrize("turned", [0, 1, 43, 128, 255])
def test_hue_of_a_grid_of_all_colours(turned: int) -> None:
    """Every seventh level of each channel and the extremes: 64,000 colours."""
    levels = np.unique([*range(0, 256, 7), 1, 2, 254, 255]).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(len(levels), -1, 3)
    hue_of, saturation, value = Image.fromarray(grid).convert("HSV").split()
    moved = Image.fromarray(np.asarray(hue_of) + np.uint8(turned))
    expected = Image.merge("HSV", (moved, saturation, value)).convert("RGB")
    found = _images(grid)
    hue.turn_hue(found, torch.full((1, 1, 1), float(turned)))
    assert torch.equal(found, _images(np.asarray(expected)))


def test_shares_give_back_every_hue_and_saturation() -> None:
    """All of PIL's HSV, at some brightness: what any turn of any colour can lead to."""
    shares = hue.hue_tables(torch.device("cpu"))[2].numpy()
    hues, saturations = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    for value in (0, 1, 2, 50, 127, 128, 191, 254, 255):
        hsv = np.stack([hues, saturations, np.full_like(hues, value)], -1).astype(np.uint8)
        expected = np.asarray(Image.frombytes("HSV", (256, 256), hsv.tobytes()).convert("RGB"))
        found = np.floor(shares * value + 0.5).reshape(3, 256, 256).transpose(1, 2, 0)
        assert np.array_equal(found, expected), value

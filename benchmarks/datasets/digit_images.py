"""Pictures of scikit-learn's 1,797 handwritten digits: single ones, and scenes of several.

The digits are the test set of the UCI Optical Recognition of Handwritten Digits (Alpaydin and
Kaynak, 1998), 8x8 pixels in 17 greys, shipped inside scikit-learn. Every picture is drawn from a
generator of its own, so that it does not depend on the pictures before it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Draw = Callable[[NDArray[np.float64], np.random.Generator], Image.Image]
Colour = tuple[int, int, int]  # RGB, 0..255

SIDE = 40  # of a picture of one digit, pixels; what is cut from it has 32
_DIGIT_SIDE = 24
_OFF_CENTRE = 4  # a digit is moved by up to this much, so that it stays within the central 32
SCENE_SIDE = 64
_SMALL = 13  # a digit in a box narrower than this is difficult
_CUT = 0.7  # and so is one of which less than this part is inside the picture


@dataclass(frozen=True, eq=False)
class Digits:
    """Some of the digits: pixels (N, 8, 8) in 0..16 and their classes (N,) in 0..9."""

    pixels: NDArray[np.float64]
    labels: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "Digits":
        """Return the digits at `rows`, in that order."""
        return Digits(self.pixels[rows], self.labels[rows])

    def ranks(self) -> NDArray[np.int64]:
        """Return how many digits of the same class stand before each, (N,)."""
        same = np.cumsum(self.labels[:, None] == np.arange(10), axis=0)
        return np.asarray(same[np.arange(len(self.labels)), self.labels] - 1)


@dataclass(frozen=True)
class Object:
    """One digit of a scene; the box is that part of it which is inside the picture."""

    label: int
    left: int
    top: int
    right: int  # exclusive, as bottom
    bottom: int
    truncated: bool
    difficult: bool


def load_splits() -> tuple[Digits, Digits]:
    """Return the training digits, sorted by class, and the last fifth of each class, unsorted."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    held = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        rows = np.flatnonzero(labels == label)
        held[rows[len(rows) - round(len(rows) / 5) :]] = True
    every = Digits(bunch.images, labels)
    by_class = np.argsort(labels, kind="stable")
    return every.take(by_class[~held[by_class]]), every.take(np.flatnonzero(held))


def plain(pixels: NDArray[np.float64], rng: np.random.Generator) -> Image.Image:
    """A white digit somewhere near the middle of a black picture: the ImageNet of the digits.

    Were it always at the same place, random filters would tell the digits apart almost as well as
    trained ones. So it is in the two others.
    """
    picture = Image.new("RGB", (SIDE, SIDE))
    return _write_on(picture, _ink(pixels, _DIGIT_SIDE), (255, 255, 255), _move(rng))


def on_a_board(pixels: NDArray[np.float64], rng: np.random.Generator) -> Image.Image:
    """Chalk on a dark board that is tinted and unevenly lit: the Places205 of the digits.

    Light on dark, as what is pretrained on: dark on light turns every gradient around, and what a
    trunk has learned of white digits alone then helps less than random filters do.
    """
    tint = rng.integers(15, 60, 3)
    board = _enlarge(tint + rng.integers(-15, 26, (2, 2, 1)), SIDE)
    colour = _colour(rng, 195, 246)
    return _write_on(board, _ink(pixels, _DIGIT_SIDE), colour, _move(rng))


def in_the_wild(pixels: NDArray[np.float64], rng: np.random.Generator) -> Image.Image:
    """A coloured digit, turned by up to 25 degrees, on clutter: the iNaturalist of the digits."""
    clutter = _enlarge(rng.integers(30, 110, (8, 8, 3)), SIDE)
    ink = Image.new("L", (SIDE, SIDE))
    corner = (SIDE - _DIGIT_SIDE) // 2
    ink.paste(_ink(pixels, _DIGIT_SIDE), (corner, corner))
    turned = ink.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BICUBIC)
    colour = _colour(rng, 170, 256)
    return _write_on(clutter, turned, colour, _move(rng))


def scene(digits: Digits, rng: np.random.Generator) -> tuple[Image.Image, list[Object]]:
    """Draw one to five digits of different sizes at different places on a dim background.

    A class often stands in a scene more than once, so that most scenes lack most classes, as in
    VOC07. A digit that would cover another is left out.
    """
    picture = _enlarge(rng.integers(20, 70, (4, 4, 3)), SCENE_SIDE)
    wanted = 1 + int(np.searchsorted((0.58, 0.8, 0.9, 0.96), rng.random()))
    objects: list[Object] = []
    for number in range(wanted):
        repeat = number > 0 and rng.random() < 0.5
        label = objects[0].label if repeat else int(rng.integers(10))
        rows = np.flatnonzero(digits.labels == label)
        pixels = digits.pixels[rows[int(rng.integers(len(rows)))]]
        side = int(rng.integers(10, 37))
        colour = _colour(rng, 140, 256)
        placed = _place(label, side, objects, rng)
        if placed is not None:
            corner, found = placed
            ink = _ink(pixels, side)
            picture.paste(colour, corner, ink)
            objects.append(found)
    return picture, objects


def _place(
    label: int, side: int, others: list[Object], rng: np.random.Generator
) -> tuple[tuple[int, int], Object] | None:
    """Find a free place for a digit: its left top corner, perhaps outside, and what is inside."""
    margin = int(0.5 * side) if rng.random() < 0.2 else 0  # now and then cut off by the border
    for _ in range(20):
        left, top = rng.integers(-margin, SCENE_SIDE - side + margin + 1, 2).tolist()
        right, bottom = min(left + side, SCENE_SIDE), min(top + side, SCENE_SIDE)
        x, y = max(left, 0), max(top, 0)
        if any(
            min(right, o.right) - max(x, o.left) > 1 and min(bottom, o.bottom) - max(y, o.top) > 1
            for o in others
        ):
            continue
        inside = (right - x) * (bottom - y) / side**2
        difficult = side < _SMALL or inside < _CUT
        return (left, top), Object(label, x, y, right, bottom, inside < 1, difficult)
    return None


def _ink(pixels: NDArray[np.float64], side: int) -> Image.Image:
    """Scale an 8x8 digit smoothly to side x side: how much ink there is, 0..255."""
    grey = Image.fromarray(np.round(pixels * (255 / 16)).astype(np.uint8))
    return grey.resize((side, side), Image.Resampling.BICUBIC)


def _write_on(
    picture: Image.Image, ink: Image.Image, colour: Colour, move: tuple[int, int]
) -> Image.Image:
    """Write on the middle of `picture`, moved by so many pixels right and down."""
    corner = (picture.width - ink.width) // 2
    picture.paste(colour, (corner + move[0], corner + move[1]), ink)
    return picture


def _move(rng: np.random.Generator) -> tuple[int, int]:
    right, down = rng.integers(-_OFF_CENTRE, _OFF_CENTRE + 1, 2).tolist()
    return right, down


def _colour(rng: np.random.Generator, low: int, high: int) -> Colour:
    red, green, blue = rng.integers(low, high, 3).tolist()
    return red, green, blue


def _enlarge(cells: NDArray[np.int64], side: int) -> Image.Image:
    """Enlarge a few coloured cells (h, w, 3) smoothly to side x side."""
    coarse = Image.fromarray(np.clip(cells, 0, 255).astype(np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)

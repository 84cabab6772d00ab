"""A contact sheet: a row of images for each of some clusters."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pretrain.deepcluster.watching.filters import encode
from pretrain.deepcluster.watching.purity import Cluster

THUMB = 96  # pixels of an image's side
GAP = 6
FRAME = 4  # of an image of another class than most
CAPTION = 210  # pixels left of a row
LETTERS = 21  # of a line there
ORANGE = (213, 94, 0)


@dataclass(frozen=True)
class Row:
    """One cluster, what its larger class is called, and some of its images."""

    cluster: Cluster
    name: str  # of the class that most images have; empty without labels
    images: Sequence[Image.Image]
    others: Sequence[bool]  # whether each is of another class


def draw_sheet(rows: Sequence[Row], *, images: int) -> bytes:
    """PNG of the rows, at most `images` to each; those of another class have an orange frame.

    It is as wide as `images` asks for, but no wider than its longest row.
    """
    step = THUMB + GAP
    images = min(images, max((len(row.images) for row in rows), default=0))
    sheet = np.full((len(rows) * step + GAP, CAPTION + images * step + GAP, 3), 255, np.uint8)
    for number, row in enumerate(rows):
        top = GAP + number * step
        sheet[top : top + THUMB, GAP:CAPTION] = _caption(row)
        for place, (image, other) in enumerate(zip(row.images, row.others, strict=True)):
            left = CAPTION + GAP + place * step
            sheet[top : top + THUMB, left : left + THUMB] = _thumb(image, other)
    return encode(sheet)


def centre_square(image: Image.Image) -> Image.Image:
    """The largest square in the middle, at the size of the sheet."""
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    # Small images are enlarged pixel by pixel: smoothing would show what is not there.
    way = Image.Resampling.NEAREST if side < THUMB // 2 else Image.Resampling.LANCZOS
    return square.resize((THUMB, THUMB), way)


def _thumb(image: Image.Image, other: bool) -> NDArray[np.uint8]:
    pixels = np.array(centre_square(image.convert("RGB")))
    if other:
        inner = slice(FRAME, -FRAME)
        framed = np.full_like(pixels, ORANGE)
        framed[inner, inner] = pixels[inner, inner]
        pixels = framed
    return pixels


def _caption(row: Row) -> NDArray[np.uint8]:
    """What is said of a cluster, right-aligned beside its images."""
    one = row.cluster
    lines = [f"cluster {one.number}", f"{one.images:,} images"]
    if one.purity is not None:
        share = f"{100 * one.purity:.0f} % {row.name}"
        lines += textwrap.wrap(share, LETTERS, max_lines=2, placeholder=" ..")
    canvas = Image.new("RGB", (CAPTION - GAP, THUMB), "white")
    pen = ImageDraw.Draw(canvas)
    line = 21
    top = (THUMB - line * len(lines)) // 2
    for number, text in enumerate(lines):
        grey = (0, 0, 0) if number == 0 else (70, 70, 70)
        place = (CAPTION - 3 * GAP, top + line * number)
        pen.text(place, text, fill=grey, font=_font(bold=number == 0), anchor="ra")
    return np.array(canvas)


def _font(*, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    from matplotlib import font_manager

    weight = "bold" if bold else "normal"
    found = font_manager.FontProperties(family="DejaVu Sans", weight=weight)
    return ImageFont.truetype(font_manager.findfont(found), 15)

"""The protocols' transforms: from a PIL image to a normalised tensor, in three parts.

`Geometry` is what workers do to each image they decode; `Colour` and `Normalise` are done to whole
batches, wherever those are. Resizing is PIL's (bilinear, antialiased), as in OpenSelfSup and
MMSelfSup 0.x.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.images.colour import Colour, Draws, Normalise
from benchmarks.protocols import ImageTransform
from slurm.errors import UserError

MOST_PIXELS = 89_478_485  # of a resized image; from where on PIL warns of one
Step = Callable[[Image.Image], Image.Image]


class Geometry:
    """Crop, resize, flip and rotate a PIL image, drawing from torch's generator."""

    def __init__(self, spec: ImageTransform) -> None:
        self.crop = spec.crop
        self.steps = _steps(spec)

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """(crop, crop, 3) RGB."""
        for step in self.steps:
            image = step(image)
        return np.asarray(image)


@dataclass(frozen=True)
class Transform:
    """All of an `ImageTransform`, in the order in which it is drawn and done."""

    geometry: Geometry
    colour: Colour
    normalise: Normalise

    def __call__(self, image: Image.Image) -> Tensor:
        """(3, crop, crop) float32."""
        pixels = torch.from_numpy(self.geometry(image).copy())[None]
        draws = Draws.none(1)
        self.colour.draw(draws, 0)
        return self.finish(pixels, draws)[0]

    def finish(self, pixels: Tensor, draws: Draws) -> Tensor:
        """From uint8 (N, H, W, 3) to normalised float32 (N, 3, H, W)."""
        return self.colour.apply(pixels, draws, [self.normalise])[0]


def build_transform(spec: ImageTransform, mean: Sequence[float], std: Sequence[float]) -> Transform:
    """Return the function from a PIL image to a (3, crop, crop) float32 tensor.

    The order is OpenSelfSup's: geometry, flip, rotation, colour jitter, grey, tensor in 0..1,
    lighting, normalisation by `mean` and `std` (per RGB channel, in 0..1).
    """
    return Transform(Geometry(spec), Colour.of(spec), Normalise(tuple(mean), tuple(std)))


class ResizeShortSide:
    """Resize so that the short side has `size` pixels, unless that would take gigabytes.

    A picture of one pixel by fifty thousand, a damaged scan perhaps, would become one of 256 by
    thirteen million.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.resize = v2.Resize(size)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return `image`, resized; `UserError` beyond `MOST_PIXELS`."""
        width, height = image.size
        pixels = self.size**2 * max(width, height) / min(width, height)
        if pixels > MOST_PIXELS:
            raise UserError(
                f"an image of {width} x {height} pixels would be resized to {pixels:,.0f} pixels, "
                f"the limit is {MOST_PIXELS:,}: crop it, or leave it out of the list"
            )
        resized: Image.Image = self.resize(image)
        return resized


class RandomResizedCrop:
    """torchvision's, without the way through its dispatcher."""

    def __init__(self, size: int) -> None:
        self.size = (size, size)
        self.draw = v2.RandomResizedCrop(size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))

    def __call__(self, image: Image.Image) -> Image.Image:
        """A part of `image`, resized."""
        part: dict[str, Any] = self.draw.make_params([image])
        left, top = part["left"], part["top"]
        box = (left, top, left + part["width"], top + part["height"])
        return image.crop(box).resize(self.size, Image.Resampling.BILINEAR)


def _flip(image: Image.Image) -> Image.Image:
    """Every second image from right to left."""
    if torch.rand(1) >= 0.5:
        return image
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _steps(spec: ImageTransform) -> list[Step]:
    steps = _cropping(spec)
    if spec.flip:
        steps.append(_flip)
    if spec.rotation is not None:
        steps.append(v2.RandomRotation(spec.rotation))  # nearest neighbour, as torchvision's is
    return steps


def _cropping(spec: ImageTransform) -> list[Step]:
    square = (spec.crop, spec.crop)
    if spec.random_resized_crop:
        return [RandomResizedCrop(spec.crop)]
    steps: list[Step] = [] if spec.resize is None else [ResizeShortSide(spec.resize)]
    if spec.squash:
        return [*steps, v2.Resize(square)]
    if spec.random_crop is not None:
        return [*steps, v2.CenterCrop(spec.random_crop), v2.RandomCrop(spec.crop)]
    return [*steps, v2.CenterCrop(spec.crop)]

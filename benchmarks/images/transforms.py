"""The protocols' transforms: from a PIL image to a normalised tensor, in three parts.

`Geometry` is what workers do to each image they decode; `Colour` and `Normalise` are done to whole
batches, wherever those are. Resizing is PIL's (bilinear, antialiased), as in OpenSelfSup and
MMSelfSup 0.x. By choice (`--decode fast`) it is torchvision's on tensors of 8 bits, which is faster
and up to two grey levels away.
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
from torchvision.transforms.v2.functional import resize

from benchmarks.images.colour import Colour, Draws, Normalise
from benchmarks.protocols import ImageTransform
from slurm.errors import UserError

MOST_PIXELS = 89_478_485  # of a resized image; from where on PIL warns of one
Picture = Any  # a PIL image or, with --decode fast, a tensor (3, H, W) uint8
Step = Callable[[Picture], Picture]


class Geometry:
    """Crop, resize, flip and rotate an image, drawing from torch's generator."""

    def __init__(self, spec: ImageTransform, *, fast: bool = False) -> None:
        """`fast` is for tensors (3, H, W) uint8, else it is for PIL images."""
        self.crop, self.fast = spec.crop, fast
        self.steps = _steps(spec, fast)

    def __call__(self, image: Picture) -> NDArray[np.uint8]:
        """(crop, crop, 3) RGB."""
        for step in self.steps:
            image = step(image)
        return image.permute(1, 2, 0).numpy() if self.fast else np.asarray(image)


@dataclass(frozen=True)
class Transform:
    """All of an `ImageTransform`, in the order in which it is drawn and done."""

    geometry: Geometry
    colour: Colour
    normalise: Normalise

    def __call__(self, image: Picture) -> Tensor:
        """(3, crop, crop) float32."""
        pixels = torch.from_numpy(self.geometry(image).copy())[None]
        draws = Draws.none(1)
        self.colour.draw(draws, 0)
        return self.finish(pixels, draws)[0]

    def finish(self, pixels: Tensor, draws: Draws) -> Tensor:
        """From uint8 (N, H, W, 3) to normalised float32 (N, 3, H, W)."""
        return self.colour.apply(pixels, draws, [self.normalise])[0]


def build_transform(
    spec: ImageTransform, mean: Sequence[float], std: Sequence[float], *, fast: bool = False
) -> Transform:
    """Return the function from a PIL image to a (3, crop, crop) float32 tensor.

    The order is OpenSelfSup's: geometry, flip, rotation, colour jitter, grey, tensor in 0..1,
    lighting, normalisation by `mean` and `std` (per RGB channel, in 0..1).
    """
    return Transform(Geometry(spec, fast=fast), Colour.of(spec), Normalise(tuple(mean), tuple(std)))


class ResizeShortSide:
    """Resize so that the short side has `size` pixels, unless that would take gigabytes.

    A picture of one pixel by fifty thousand, a damaged scan perhaps, would become one of 256 by
    thirteen million.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.resize = v2.Resize(size)

    def __call__(self, image: Picture) -> Picture:
        """Return `image`, resized; `UserError` beyond `MOST_PIXELS`."""
        height, width = image.shape[1:] if isinstance(image, Tensor) else image.size[::-1]
        pixels = self.size**2 * max(width, height) / min(width, height)
        if pixels > MOST_PIXELS:
            raise UserError(
                f"an image of {width} x {height} pixels would be resized to {pixels:,.0f} pixels, "
                f"the limit is {MOST_PIXELS:,}: crop it, or leave it out of the list"
            )
        return self.resize(image)


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

    def tensor(self, image: Tensor) -> Tensor:
        """The same part of a tensor (3, H, W) uint8, resized by torchvision."""
        part: dict[str, Any] = self.draw.make_params([image])
        top, left = part["top"], part["left"]
        cut = image[:, top : top + part["height"], left : left + part["width"]]
        resized: Tensor = resize(cut, list(self.size), antialias=True)
        return resized


def _flip(image: Picture) -> Picture:
    """Every second image from right to left."""
    if torch.rand(1) >= 0.5:
        return image
    if isinstance(image, Tensor):
        return image.flip(2)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _steps(spec: ImageTransform, fast: bool) -> list[Step]:
    steps = _cropping(spec, fast)
    if spec.flip:
        steps.append(_flip)
    if spec.rotation is not None:
        steps.append(v2.RandomRotation(spec.rotation))  # nearest neighbour, as torchvision's is
    return steps


def _cropping(spec: ImageTransform, fast: bool) -> list[Step]:
    square = (spec.crop, spec.crop)
    if spec.random_resized_crop:
        return [RandomResizedCrop(spec.crop).tensor if fast else RandomResizedCrop(spec.crop)]
    steps: list[Step] = [] if spec.resize is None else [ResizeShortSide(spec.resize)]
    if spec.squash:
        return [*steps, v2.Resize(square)]
    if spec.random_crop is not None:
        return [*steps, v2.CenterCrop(spec.random_crop), v2.RandomCrop(spec.crop)]
    return [*steps, v2.CenterCrop(spec.crop)]

"""The protocols' transforms: from a PIL image to a normalised tensor, in three parts.

`Geometry` is what workers do to each image they decode; `Colour` and `Normalise` are done to whole
batches, wherever those are. Resizing is PIL's (bilinear, antialiased), as in OpenSelfSup and
MMSelfSup 0.x. By choice (`--decode fast`) it is torchvision's on tensors of 8 bits, which is faster
and up to two grey levels away.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resize

from benchmarks.images.colour import Colour, Draws, Normalise
from benchmarks.images.decoding import Encoded
from benchmarks.protocols import ImageTransform
from slurm.errors import UserError

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random part: its area and its sides
MOST_PIXELS = 89_478_485  # of a resized image; from where on PIL warns of one
Picture = Any  # a PIL image or, with --decode fast, a tensor (3, H, W) uint8
Step = Callable[[Picture], Picture]


class Part(NamedTuple):
    """What is cut out of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def bottom(self) -> int:
        """How many of the image's rows are needed for it."""
        return self.top + self.height


class Geometry:
    """Crop, resize, flip and rotate an image, drawing from torch's generator."""

    def __init__(self, spec: ImageTransform, *, fast: bool = False) -> None:
        """`fast` is for tensors (3, H, W) uint8, else it is for PIL images."""
        self.crop, self.fast = spec.crop, fast
        self.random_part = RandomResizedCrop(spec.crop) if spec.random_resized_crop else None
        self.cropping, self.turning = _cropping(spec), _turning(spec)

    def draw_part(self, encoded: Encoded) -> Part | None:
        """What will be cut out first, which needs the image's size alone; None for all of it."""
        return None if self.random_part is None else self.random_part.draw(*encoded.size())

    def __call__(self, image: Picture, part: Part | None = None) -> NDArray[np.uint8]:
        """(crop, crop, 3) RGB; `part` is what was drawn for this image, else it is drawn now.

        Of an image that was decoded only down to its part, that part must be given.
        """
        if self.random_part is not None:
            image = self.random_part(image, part)
        for step in self.cropping:
            image = step(image)
        if self.fast:
            image = Image.fromarray(_by_pixel(image).permute(1, 2, 0).numpy())
        for step in self.turning:
            image = step(image)
        return np.asarray(image)


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
    """torchvision's, without the way through its dispatcher, to the last draw and bit."""

    def __init__(self, size: int) -> None:
        self.size = (size, size)
        self.log_ratio = torch.log(torch.tensor(RATIO)).tolist()
        self.drawn = torch.empty(1)
        self.place = torch.empty(1, dtype=torch.int64)

    def __call__(self, image: Picture, part: Part | None = None) -> Picture:
        """A part of an image, drawn now if none is given, resized."""
        if isinstance(image, Tensor):
            left, top, width, height = part or self.draw(image.shape[2], image.shape[1])
            cut = image[:, top : top + height, left : left + width]
            return resize(_by_pixel(cut), list(self.size), antialias=True)
        left, top, width, height = part or self.draw(*image.size)
        cut = image.crop((left, top, left + width, top + height))
        return cut.resize(self.size, Image.Resampling.BILINEAR)

    def draw(self, width: int, height: int) -> Part:
        """A part of an image of this size; see torchvision's `make_params`."""
        for _ in range(10):
            area = width * height * self.drawn.uniform_(*SCALE).item()
            aspect = self.drawn.uniform_(*self.log_ratio).exp_().item()
            wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < wide <= width and 0 < high <= height:
                top = self.place.random_(0, height - high + 1).item()
                left = self.place.random_(0, width - wide + 1).item()
                return Part(int(left), int(top), wide, high)
        # The middle of an image that is too long for any.
        wide = min(width, round(height * max(RATIO)))
        high = min(height, round(width / min(RATIO)))
        return Part((width - wide) // 2, (height - high) // 2, wide, high)


class RandomRotation:
    """torchvision's of PIL images, nearest neighbour, without the way through its dispatcher."""

    def __init__(self, degrees: float) -> None:
        self.draw = v2.RandomRotation(degrees)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return `image`, turned about its middle; black where there was nothing."""
        angle: float = self.draw.make_params([])["angle"]
        return image.rotate(angle, Image.Resampling.NEAREST, fillcolor=(0, 0, 0))


def _by_pixel(image: Tensor) -> Tensor:
    """(3, H, W), in memory with the colours of a pixel side by side, as the fast resize works."""
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def _flip(image: Image.Image) -> Image.Image:
    """Every second image from right to left."""
    return image if torch.rand(1) >= 0.5 else image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _turning(spec: ImageTransform) -> list[Step]:
    """What is done to the crop, which is a PIL image by then."""
    steps: list[Step] = [_flip] if spec.flip else []
    return steps if spec.rotation is None else [*steps, RandomRotation(spec.rotation)]


def _cropping(spec: ImageTransform) -> list[Step]:
    square = (spec.crop, spec.crop)
    if spec.random_resized_crop:
        return []  # a part is cut out before
    steps: list[Step] = [] if spec.resize is None else [ResizeShortSide(spec.resize)]
    if spec.squash:
        return [*steps, v2.Resize(square)]
    if spec.random_crop is not None:
        return [*steps, v2.CenterCrop(spec.random_crop), v2.RandomCrop(spec.crop)]
    return [*steps, v2.CenterCrop(spec.crop)]

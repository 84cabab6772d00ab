"""The protocols' transforms: from a PIL image to a normalised tensor.

Resizing is PIL's (bilinear, antialiased), as in OpenSelfSup and MMSelfSup 0.x.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.protocols import ImageTransform
from slurm.errors import UserError

MOST_PIXELS = 89_478_485  # of a resized image; from where on PIL warns of one
Transform = Callable[[Image.Image], Tensor]
Step = Callable[[Any], Any]  # part of one, on images or tensors

# Principal components of ImageNet's RGB values in 0..1 (Krizhevsky et al. 2012, section 4.1; the
# figures are those of fb.resnet.torch, which OpenSelfSup's Lighting uses too).
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as (3, H, W) float32 in 0..1; bit for bit torchvision's `ToTensor`."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    return pixels.to(torch.float32).div_(255)


@dataclass(frozen=True)
class Lighting:
    """AlexNet's colour noise: add vectors x values x N(0, std) to a (3, H, W) tensor in 0..1."""

    std: float

    def __call__(self, image: Tensor) -> Tensor:
        """Return `image` with all its pixels shifted by one random colour."""
        alpha = torch.randn(3) * self.std
        shift = torch.tensor(_EIGENVECTORS) @ (alpha * torch.tensor(_EIGENVALUES))
        return image + shift[:, None, None]


class Normalise:
    """Subtract `mean` from a (3, H, W) tensor and divide by `std`, in place."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = torch.tensor(mean)[:, None, None]
        self.std = torch.tensor(std)[:, None, None]

    def __call__(self, image: Tensor) -> Tensor:
        """Return `image`, normalised; the same bits as torchvision's `Normalize`."""
        return image.sub_(self.mean).div_(self.std)


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


def build_transform(spec: ImageTransform, mean: Sequence[float], std: Sequence[float]) -> Transform:
    """Return the function from a PIL image to a (3, crop, crop) float32 tensor.

    The order is OpenSelfSup's: geometry, flip, rotation, colour jitter, grey, tensor in 0..1,
    lighting, normalisation by `mean` and `std` (per RGB channel, in 0..1).
    """
    steps = _geometry(spec)
    if spec.flip:
        steps.append(v2.RandomHorizontalFlip())
    if spec.rotation is not None:
        steps.append(v2.RandomRotation(spec.rotation))  # nearest neighbour, as torchvision's is
    if spec.jitter is not None:
        steps.append(v2.ColorJitter(*spec.jitter))
    if spec.greyscale is not None:
        steps.append(v2.RandomGrayscale(spec.greyscale))
    lighting = [] if spec.lighting is None else [Lighting(spec.lighting)]
    compose: Transform = v2.Compose([*steps, to_tensor, *lighting, Normalise(mean, std)])
    return compose


def _geometry(spec: ImageTransform) -> list[Step]:
    square = (spec.crop, spec.crop)
    if spec.random_resized_crop:
        return [v2.RandomResizedCrop(spec.crop, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))]
    steps: list[Step] = [] if spec.resize is None else [ResizeShortSide(spec.resize)]
    if spec.squash:
        return [*steps, v2.Resize(square)]
    if spec.random_crop is not None:
        return [*steps, v2.CenterCrop(spec.random_crop), v2.RandomCrop(spec.crop)]
    return [*steps, v2.CenterCrop(spec.crop)]

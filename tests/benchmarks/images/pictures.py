"""Pictures for the tests of images."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import ToTensor, v2

from benchmarks.protocols import ImageTransform

AUGMENTED = ImageTransform(
    crop=24,
    random_resized_crop=True,
    flip=True,
    jitter=(0.4, 0.4, 1.0, 0.5),
    lighting=0.1,
    rotation=2.0,
    greyscale=0.2,
)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Something with edges, gradients and colours."""
    cells = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


class Lighting:
    """AlexNet's colour noise on (3, H, W) in 0..1: the paper's components, one colour an image."""

    VALUES = torch.tensor([0.2175, 0.0188, 0.0045])
    VECTORS = torch.tensor(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )

    def __init__(self, std: float) -> None:
        self.std = std

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image + (self.VECTORS @ (torch.randn(3) * self.std * self.VALUES))[:, None, None]


def torchvisions(spec: ImageTransform, mean: Sequence[float], std: Sequence[float]) -> v2.Compose:
    """The same transform of a PIL image by torchvision's own steps, on PIL."""
    steps: list[object] = []
    if spec.random_resized_crop:
        steps += [v2.RandomResizedCrop(spec.crop, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))]
    else:
        steps += [v2.Resize(spec.resize)] if spec.resize is not None else []
        if spec.squash:
            steps += [v2.Resize((spec.crop, spec.crop))]
        elif spec.random_crop is not None:
            steps += [v2.CenterCrop(spec.random_crop), v2.RandomCrop(spec.crop)]
        else:
            steps += [v2.CenterCrop(spec.crop)]
    steps += [v2.RandomHorizontalFlip()] if spec.flip else []
    steps += [v2.RandomRotation(spec.rotation)] if spec.rotation is not None else []
    steps += [v2.ColorJitter(*spec.jitter)] if spec.jitter is not None else []
    steps += [v2.RandomGrayscale(spec.greyscale)] if spec.greyscale is not None else []
    steps += [ToTensor()]
    steps += [Lighting(spec.lighting)] if spec.lighting is not None else []
    return v2.Compose([*steps, v2.Normalize(list(mean), list(std))])

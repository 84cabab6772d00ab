"""Pictures for the tests of images."""

import numpy as np
from PIL import Image

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

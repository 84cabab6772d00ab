"""Real files that many tests read."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# The same examples in every run, so that a failure is of the change that brought it; others are
# drawn by `pytest --hypothesis-profile=default`.
settings.load_profile("ci")

CLASSES = ("n01", "n02", "n03")


def write_image_folders(root: Path, train: int, val: int, side: int = 32) -> Path:
    """An ImageNet layout of real JPEG files: stripes whose direction and period tell the class."""
    for split, count in (("train", train), ("val", val)):
        lines = []
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                draws = np.random.default_rng([label, number, split == "val"])
                rows, columns = np.mgrid[:side, :side]
                phase = (rows, columns, rows + columns)[label] + draws.integers(16)
                grey = 128 + 100 * np.sin(phase * 2 * np.pi / 8)
                pixels = np.clip(grey[..., None] + draws.normal(0, 25, (side, side, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
                lines.append(f"{name}/{number}.jpg {label}")
        (root / "meta").mkdir(exist_ok=True)
        (root / "meta" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def tiny_imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 training and 18 validation images of three classes, 32 x 32 pixels."""
    return write_image_folders(tmp_path_factory.mktemp("tiny") / "imagenet", train=16, val=6)

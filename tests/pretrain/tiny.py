"""A recipe of seconds and images of noise, and the real command with that recipe known to it.

Run as a script, this is `python -m pretrain` with one more recipe, `tiny`.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.protocols import ImageTransform
from pretrain.__main__ import main
from pretrain.deepcluster.item import Pretrain
from pretrain.deepcluster.recipes import RECIPES, Recipe
from pretrain.images import read_images
from slurm.cli import run_command

TINY = Recipe(
    name="tiny",
    arch="test_resnet",
    train=ImageTransform(crop=32, resize=36, random_crop=36),
    extract=ImageTransform(crop=32, resize=32),
    epochs=3,
    batch_size=16,
    learning_rate=0.05,
    clusters=8,
    pca=8,
)
IMAGES = 90  # six steps an epoch, the last of which is filled up
CLASSES = 3


def write_images(folder: Path) -> Path:
    """An ImageNet-layout folder of 90 blurred noise images of three tints, as PNG."""
    rng = np.random.default_rng(0)
    for split, count in (("train", IMAGES), ("val", CLASSES)):
        for number in range(count):
            label = number % CLASSES
            noise = rng.normal(size=(6, 6, 3)) * 40 + 60 + 60 * (np.arange(3) == label)
            image = Image.fromarray(noise.clip(0, 255).astype(np.uint8)).resize((36, 36))
            path = folder / split / f"class{label}" / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    return folder


def tiny_item(zoo: Path, data: Path, recipe: Recipe = TINY, **fields: object) -> Pretrain:
    """The item of a tiny run named `tiny`."""
    images = read_images(data).fingerprint()
    return Pretrain(zoo, "tiny", recipe, data, images, device="cpu", **fields)  # type: ignore[arg-type]


if __name__ == "__main__":
    RECIPES[TINY.name] = TINY
    run_command(main, flag="--resume")

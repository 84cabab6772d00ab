"""A VOC2007 folder of a few small real images, trunks as the commands make them, a full disk."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.checkpoints.fit import checkpoint_of
from benchmarks.checkpoints.zoo import resolve
from benchmarks.trunks import Trunk
from slurm import leftovers

CLASSES = ("bird", "cat")
COUNTS = {"trainval": 24, "test": 10}


def write_voc(folder: Path, counts: Mapping[str, int] = COUNTS) -> Path:
    """Noise of two tints, one for each class: every image shows one of them."""
    draws = np.random.default_rng(0)
    (folder / "JPEGImages").mkdir(parents=True)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split, count in counts.items():
        first = 0 if split == "trainval" else 500
        shown = {f"{number:06d}": number % 2 for number in range(first, first + count)}
        for image, label in shown.items():
            pixels = draws.normal(90, 30, (32, 32, 3)) + 60 * (np.arange(3) == label)
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(folder / "JPEGImages" / f"{image}.jpg")
        (lists / f"{split}.txt").write_text("".join(f"{image}\n" for image in shown))
        for column, name in enumerate(CLASSES):
            lines = [f"{image} {1 if label == column else -1}\n" for image, label in shown.items()]
            (lists / f"{name}_{split}.txt").write_text("".join(lines))
    return folder


def make_trunk(zoo: Path, ckpt: str, *, seed: int = 0, workers: int = 0) -> Trunk:
    """The trunk that `--ckpt` names, on the CPU."""
    card = resolve(zoo, ckpt, seed)
    return Trunk(
        zoo=zoo,
        ckpt=ckpt,
        checkpoint=checkpoint_of(card),
        seed=seed,
        device="cpu",
        workers=workers,
        mean=card.mean,
        std=card.std,
    )


def fill_disk(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Make the kernel refuse every byte that is written to `path`, as a full disk does."""
    monkeypatch.setattr(leftovers.os, "urandom", bytes)
    path.parent.mkdir(parents=True, exist_ok=True)
    leftovers.temporary_beside(path).symlink_to("/dev/full")

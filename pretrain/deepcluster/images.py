"""The images that are pretrained on: an ImageNet-layout folder, or any folder of images.

A folder with `train/` and `val/` is read as ImageNet is, by its lists or class folders; the labels
then serve to monitor the clustering, never to train. Any other folder is searched for images at
any depth (in its `train/` if it has one), and there are no labels.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import imagenet
from benchmarks.datasets.lists import EXTENSIONS, require_directory
from benchmarks.datasets.splits import ImageSplit
from slurm.errors import UserError


def read_images(folder: Path) -> ImageSplit:
    """The training images of `folder`; `classes` is empty when there are no labels."""
    require_directory(folder, "--data should lead to train/ and val/, or to any folder of images")
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        return imagenet.load(folder).splits["train"]
    root = folder / "train" if (folder / "train").is_dir() else folder
    paths = _images_below(root)
    if not paths:
        raise UserError(
            f"{root} holds no image ({' '.join(EXTENSIONS)}); --data should lead to train/ and "
            "val/, or to any folder of images"
        )
    return ImageSplit(root, paths, np.zeros(len(paths), dtype=np.int64), ())


def select(images: ImageSplit, rows: NDArray[np.int64]) -> ImageSplit:
    """The images of `rows`, which may name one several times; without labels."""
    paths = images.paths
    selected = tuple([paths[row] for row in rows.tolist()])
    return ImageSplit(images.root, selected, np.zeros(len(rows), dtype=np.int64), ())


def _images_below(root: Path) -> tuple[str, ...]:
    """Paths relative to `root`, sorted; hidden files and other kinds are passed over."""
    found = []
    for directory, _, files in os.walk(root, followlinks=True):
        prefix = Path(directory).relative_to(root).as_posix()
        found += [
            file if prefix == "." else f"{prefix}/{file}"
            for file in files
            if file.lower().endswith(EXTENSIONS) and file[0] != "."
        ]
    return tuple(sorted(found))

"""The images that are pretrained on: an ImageNet-layout folder, or any folder of images.

A folder with `train/` and `val/` is read as ImageNet is, by its lists or class folders; the labels
then serve to monitor the clustering, never to train. Any other folder is searched for images at
any depth (in its `train/` if it has one), and there are no labels.
"""

import os
from pathlib import Path

import numpy as np

from benchmarks.datasets import imagenet
from benchmarks.datasets.reading.folders import (
    EXTENSIONS,
    Passed,
    but_holds,
    images_below,
    owners_above,
    passed_note,
    require_directory,
    say_note,
)
from benchmarks.datasets.splits import ImageSplit
from benchmarks.input_files import is_folder, is_there
from slurm.errors import UserError


def read_images(folder: Path) -> ImageSplit:
    """The training images of `folder`; `classes` is empty when there are no labels."""
    require_directory(folder, "--data should lead to train/ and val/, or to any folder of images")
    for part in (folder / "train", folder / "val"):
        if is_there(part) and not is_folder(part):
            raise UserError(
                f"{part} is no folder, or a link that leads to none; --data should lead to train/ "
                "and val/, or to any folder of images"
            )
    if is_folder(folder / "train") and is_folder(folder / "val"):
        return imagenet.load(folder).splits["train"]
    root = folder
    if is_folder(folder / "train"):
        root = folder / "train"
        if beside := _images_beside(folder):
            say_note(f"only {root} is read; there are images beside it: {beside}")
    # Sorted as a whole: neither links nor the depth of folders move an image.
    passed = Passed()
    paths = tuple(sorted(images_below(root, str(root), owners_above(root), passed)))
    if passed and paths:
        say_note(passed_note(str(root), passed))
    if not paths:
        raise UserError(
            f"{root} holds no image ({' '.join(EXTENSIONS)}){but_holds(passed)}; --data should "
            "lead to train/ and val/, or to any folder of images"
        )
    return ImageSplit(root, paths, np.zeros(len(paths), dtype=np.int64), ())


def _images_beside(folder: Path) -> str:
    """What else holds images in a folder with `train/`; those for tests are left out on purpose."""
    found, loose = [], 0
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # of a folder that may be passed through alone
        return ""
    for entry in entries:
        usual = entry.name.lower() in ("train", "val", "validation", "test")
        if not usual and not entry.is_symlink() and _holds_images(entry):
            found.append(f"{entry.name}/")
        loose += entry.suffix.lower() in EXTENSIONS and entry.is_file()
    files = [f"{loose} file{'s' * (loose > 1)}"] if loose else []
    return ", ".join([*found[:5], *(["..."] if len(found) > 5 else []), *files])


def _holds_images(folder: Path) -> bool:
    """Whether there is an image at any depth, as far as that can be looked at."""
    return any(
        name.lower().endswith(EXTENSIONS) for _, _, names in os.walk(folder) for name in names
    )

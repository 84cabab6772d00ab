"""The embedded data: real image files of handwritten digits in the layouts of the four datasets.

    python -m benchmarks.datasets.digits DIR

writes, in a few seconds, `DIR/{imagenet,places205,inaturalist2018,VOCdevkit/VOC2007}`, which the
ordinary readers then read. Nothing is downloaded, and the bytes are the same each time. No digit
of a training split is in a validation or test split of any of the four.
"""

import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.digit_images import (
    SCENE_SIDE,
    Digits,
    Draw,
    Object,
    in_the_wild,
    load_splits,
    on_a_board,
    plain,
    scene,
)
from benchmarks.datasets.loading import DIGITS_MARKER
from benchmarks.datasets.places205 import IMAGES as PLACES_IMAGES
from slurm.cli import Parser, run_command
from slurm.errors import UserError
from slurm.leftovers import temporary_beside

VERSION = "3"  # changes with every change of what is written
CLASSES = tuple(f"digit{label}" for label in range(10))
TRAINVAL_SCENES, TEST_SCENES = 2200, 600
VAL_PLACES = 2  # where each held-out digit stands in the ImageNet of the digits, a picture each

_MARKER = DIGITS_MARKER  # holds VERSION, and is written last
_STALE_SECONDS = 3600
_JPEG: dict[str, Any] = {"quality": 92, "subsampling": 0}


def write_digits(folder: Path) -> None:
    """Write the four datasets below `folder`, each whole or not at all; finished ones are kept.

    Raises `UserError` when a dataset's folder exists but was not written by this function.
    """
    for name, write in _WRITERS.items():
        _write_once(folder / DATASETS[name].folder, write)


def _write_once(target: Path, write: Callable[[Path], None]) -> None:
    marker = target / _MARKER
    if _version(marker) == VERSION:
        return
    if target.exists() and _version(marker) is None:
        raise UserError(
            f"{target} exists but does not hold the embedded digits; choose another folder, "
            "nothing there was touched"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target)
    temporary = temporary_beside(target)
    try:
        write(temporary)
        (temporary / _MARKER).write_text(VERSION)
        if _version(marker) not in (None, VERSION):
            shutil.rmtree(target)  # an older version, and no other process has replaced it
        _rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        # Another process may have finished the same files meanwhile.
        if _version(target / _MARKER) != VERSION:
            raise


def _version(marker: Path) -> str | None:
    try:
        return marker.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _remove_stale(target: Path) -> None:
    """Remove what killed writers left behind, but not what another one is writing now."""
    for left in target.parent.glob(f".{target.name}.*.tmp"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _write_imagenet(folder: Path) -> None:
    train, val = load_splits()
    often = val.take(np.tile(np.arange(len(val.labels)), VAL_PLACES))
    for split, digits in (("train", train), ("val", often)):
        names = [
            f"{CLASSES[label]}/{CLASSES[label]}_{row:05d}.JPEG"
            for row, label in enumerate(digits.labels)
        ]
        _write_pictures(plain, digits, folder / split, names)
        _write_list(folder / "meta" / f"{split}.txt", names, digits.labels)


def _write_places205(folder: Path) -> None:
    """MIT's layout: images by first letter and class, csv lists beside; half of the training."""
    train, val = load_splits()
    half = train.take(np.flatnonzero(train.ranks() % 2 == 0))
    for split, digits in (("train", half), ("val", val)):
        names = [
            f"d/{CLASSES[label]}/gsun_{split}_{row:05d}.jpg"
            for row, label in enumerate(digits.labels)
        ]
        _write_pictures(on_a_board, digits, folder / PLACES_IMAGES, names)
        lists = folder / "trainvalsplit_places205"
        _write_list(lists / f"{split}_places205.csv", names, digits.labels)


def _write_inaturalist18(folder: Path) -> None:
    """MMSelfSup's layout, PNG files; training has a long tail, as the real one has."""
    train, val = load_splits()
    tail = np.round(140 * 0.8**train.labels)
    rare = train.take(np.flatnonzero(train.ranks() < tail))
    for split, digits in (("train", rare), ("val", val)):
        names = [
            f"Digits/{label:04d}/{split}_{row:05d}.png" for row, label in enumerate(digits.labels)
        ]
        _write_pictures(in_the_wild, digits, folder / "train_val2018", names)
        _write_list(folder / "meta" / f"{split}.txt", names, digits.labels)


def _write_voc07(folder: Path) -> None:
    sets = folder / "ImageSets" / "Main"
    for part in (sets, folder / "JPEGImages", folder / "Annotations"):
        part.mkdir(parents=True)
    splits = {"trainval": range(1, TRAINVAL_SCENES + 1)}
    splits["test"] = range(TRAINVAL_SCENES + 1, TRAINVAL_SCENES + TEST_SCENES + 1)
    for (split, numbers), digits in zip(splits.items(), load_splits()):
        columns: dict[str, list[int]] = {name: [] for name in CLASSES}
        for number in numbers:
            picture, objects = scene(digits, np.random.default_rng([2007, number]))
            picture.save(folder / "JPEGImages" / f"{number:06d}.jpg", **_JPEG)
            annotation = folder / "Annotations" / f"{number:06d}.xml"
            annotation.write_text(_annotation(f"{number:06d}.jpg", objects))
            for label, name in enumerate(CLASSES):
                columns[name].append(_presence(label, objects))
        ids = [f"{number:06d}" for number in numbers]
        _write_lines(sets / f"{split}.txt", ids)
        for name, column in columns.items():
            lines = [f"{image} {presence:2d}" for image, presence in zip(ids, column)]
            _write_lines(sets / f"{name}_{split}.txt", lines)


def _presence(label: int, objects: list[Object]) -> int:
    """VOC's label: 1 present, 0 only as a difficult object, -1 absent."""
    found = [thing for thing in objects if thing.label == label]
    if not found:
        return -1
    return 0 if all(thing.difficult for thing in found) else 1


def _annotation(file: str, objects: list[Object]) -> str:
    """VOC's XML; boxes count pixels from 1 and include the last one."""
    boxes = "".join(
        f"""\t<object>
\t\t<name>{CLASSES[thing.label]}</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>{thing.truncated:d}</truncated>
\t\t<difficult>{thing.difficult:d}</difficult>
\t\t<bndbox>
\t\t\t<xmin>{thing.left + 1}</xmin>
\t\t\t<ymin>{thing.top + 1}</ymin>
\t\t\t<xmax>{thing.right}</xmax>
\t\t\t<ymax>{thing.bottom}</ymax>
\t\t</bndbox>
\t</object>
"""
        for thing in objects
    )
    return f"""<annotation>
\t<folder>VOC2007</folder>
\t<filename>{file}</filename>
\t<size>
\t\t<width>{SCENE_SIDE}</width>
\t\t<height>{SCENE_SIDE}</height>
\t\t<depth>3</depth>
\t</size>
\t<segmented>0</segmented>
{boxes}</annotation>
"""


def _write_pictures(draw: Draw, digits: Digits, root: Path, names: list[str]) -> None:
    for parent in {(root / name).parent for name in names}:
        parent.mkdir(parents=True, exist_ok=True)
    for row, name in enumerate(names):
        # The file's name keys the draws: no two pictures share them, in whatever split they are.
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        options = _JPEG if not name.endswith(".png") else {}
        draw(digits.pixels[row], rng).save(root / name, **options)


def _write_list(file: Path, names: list[str], labels: NDArray[np.int64]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    _write_lines(file, [f"{name} {label}" for name, label in zip(names, labels)])


def _write_lines(file: Path, lines: list[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines))


_WRITERS: dict[str, Callable[[Path], None]] = {
    "imagenet": _write_imagenet,
    "places205": _write_places205,
    "inaturalist18": _write_inaturalist18,
    "voc07": _write_voc07,
}


def main(argv: list[str] | None = None) -> None:
    """Write the embedded data below a folder."""
    parser = Parser(
        prog="python -m benchmarks.datasets.digits",
        description="Write the embedded data: handwritten digits as real image files in the "
        "layouts of ImageNet, Places205, iNaturalist 2018 and VOC07.",
    )
    parser.add_argument("folder", type=Path, help="where; finished datasets there are kept")
    folder = parser.parse_args(argv).folder
    write_digits(folder)
    print(f"{folder} holds {', '.join(DATASETS[name].folder for name in _WRITERS)}")


if __name__ == "__main__":
    run_command(main)

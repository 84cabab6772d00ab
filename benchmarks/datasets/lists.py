"""Lists of labelled images, as MMSelfSup and Caffe users have them: `relative/path label` lines.

Shared by the datasets with one label an image. Fast enough for millions of lines: nothing is done
line by line in Python but splitting, and no image is looked up but the first of each list.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets.splits import Dataset, ImageSplit
from slurm.errors import UserError

# What torchvision's and MMSelfSup's folder readers take for an image.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False)
class LabelledList:
    """Paths relative to some root and their labels, (N,) int64, in the order of `source`."""

    source: Path
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...] = ()  # names, where the source itself tells them


def require_directory(folder: Path, remedy: str) -> None:
    """Raise `UserError` with the remedy unless `folder` is a directory."""
    if not folder.is_dir():
        state = "is not a directory" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {state}; {remedy}")


def read_lines(file: Path, remedy: str) -> list[str]:
    """Return the lines of a text file (blank ones too, so that numbers count) or `UserError`."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; {remedy}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text ({error}); {remedy}") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; {remedy}") from None
    # Only \n ends a line here: str.splitlines would also split at characters legal in file names.
    lines = text.split("\n")
    if not text.strip():
        raise UserError(f"{file} is empty; {remedy}")
    return lines


def read_list(file: Path) -> LabelledList:
    """Read `relative/path label` lines, each split at its last space.

    Blank lines are passed over and repeated lines kept. Raises `UserError` naming the file and
    the line for a missing or unusable label and for a path that leaves its root.
    """
    lines = read_lines(file, "it must hold lines 'relative/path label'")
    fields = [line.rsplit(None, 1) for line in lines]
    try:
        paths = tuple([path for path, _ in filter(None, fields)])
        digits = [label for _, label in filter(None, fields)]
    except ValueError:
        raise _first_bad_line(file, lines) from None
    joined = "".join(digits)
    if not (joined.isascii() and joined.isdigit()) or max(map(len, digits)) > 9 or escapes(paths):
        raise _first_bad_line(file, lines)
    return LabelledList(file, paths, np.array(digits, dtype=np.str_).astype(np.int64))


def escapes(paths: Sequence[str]) -> bool:
    """Whether a path is absolute or climbs out of its root; a cheap look before the exact one."""
    text = "\n".join(paths)
    suspicious = text.startswith("/") or "\n/" in text or ".." in text or "\0" in text
    return suspicious and any(map(_leaves_root, paths))


def _leaves_root(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/") or "\0" in path


def _first_bad_line(file: Path, lines: list[str]) -> UserError:
    for number, line in enumerate(lines, 1):
        fields = line.rsplit(None, 1)
        if not fields:
            continue
        where = f"{file} line {number}"
        if len(fields) == 1:
            return UserError(
                f"{where} has no label: {fields[0][:80]!r}; lines are 'relative/path label' "
                "(an unlabelled list can stay beside a labelled one named *_labeled.txt)"
            )
        path, label = fields
        if not (label.isascii() and label.isdigit()) or len(label) > 9:
            return UserError(
                f"{where}: the label {label[:80]!r} is not a class number from 0; "
                "lines are 'relative/path label'"
            )
        if _leaves_root(path):
            return UserError(
                f"{where}: the path {path[:80]!r} leaves the image folder; "
                "use paths relative to it, without '..'"
            )
    raise AssertionError(f"no bad line in {file}")


def scan_folders(root: Path, classes: Sequence[str] = ()) -> LabelledList:
    """Read `root/<class>/**/image`: classes, directories and files each in sorted order.

    Labels index `classes`, by default the sorted folder names (torchvision's ImageFolder order).
    Hidden folders and files that do not end like an image are passed over. Raises `UserError` for
    a missing or empty root, an empty class folder and a folder that is not in `classes`.
    """
    require_directory(root, "it should hold one folder of images for each class")
    names = sorted(
        entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != "."
    )
    if not names:
        raise UserError(f"{root} has no class folders; it should hold one for each class")
    known = {name: label for label, name in enumerate(classes or names)}
    paths: list[str] = []
    counts: list[int] = []
    for name in names:
        if name not in known:
            raise UserError(
                f"{root / name} is not a class of the training list; remove or rename the folder"
            )
        images = _images_below(root, name)
        if not images:
            raise UserError(
                f"the class folder {root / name} holds no image ({' '.join(EXTENSIONS)}); "
                "fill or remove it"
            )
        paths += images
        counts.append(len(images))
    labels = np.repeat(np.array([known[name] for name in names], dtype=np.int64), counts)
    return LabelledList(root, tuple(paths), labels, tuple(known))


def _images_below(root: Path, name: str) -> list[str]:
    top = os.path.join(root, name)  # noqa: PTH118 - os.walk joins strings; 1.3 million files
    skip = len(str(root)) + 1
    images = []
    for directory, _, files in sorted(os.walk(top, followlinks=True)):
        prefix = directory[skip:].replace(os.sep, "/")
        images += [
            f"{prefix}/{file}"
            for file in sorted(files)
            if file.lower().endswith(EXTENSIONS) and file[0] != "."
        ]
    return images


def first_file(candidates: Sequence[Path]) -> Path | None:
    """Return the first candidate that is a file, or None."""
    return next((path for path in candidates if path.is_file()), None)


def find_root(listed: LabelledList, candidates: Sequence[Path]) -> Path:
    """Return the first candidate folder that holds the first listed image, or `UserError`."""
    first = listed.paths[0]
    for root in candidates:
        if (root / first).is_file():
            return root
    places = ", ".join(str(root) for root in candidates)
    raise UserError(
        f"{listed.source} names {first}, which is in none of: {places}; unpack the images there, "
        "or remove the list if class folders should be read instead"
    )


def make_dataset(
    name: str, train: LabelledList, train_root: Path, val: LabelledList, val_root: Path
) -> Dataset:
    """Join two splits; `UserError` unless the labels are sound.

    The training labels must be 0..C-1 without gaps, those of validation within them.
    """
    classes = class_names(train)
    _check_labels(train, len(classes))
    if int(val.labels.max()) >= len(classes):
        raise _out_of_range(val, train, len(classes))
    return Dataset(
        name,
        {
            "train": ImageSplit(train_root, train.paths, train.labels, classes),
            "val": ImageSplit(val_root, val.paths, val.labels, classes),
        },
    )


def class_names(train: LabelledList) -> tuple[str, ...]:
    """Name each class as the source does, else by the folder of its first image, else by number."""
    if train.classes:
        return train.classes
    _, first = np.unique(train.labels, return_index=True)
    folders = tuple(train.paths[row].rpartition("/")[0] for row in first)
    if "" in folders or len(set(folders)) < len(folders):
        return tuple(str(label) for label in range(len(folders)))
    return folders


def _check_labels(train: LabelledList, count: int) -> None:
    present = np.unique(train.labels)
    gaps = present != np.arange(count)
    if gaps.any():
        raise UserError(
            f"{train.source}: no image has label {gaps.argmax()}, but labels go up to "
            f"{present[-1]}; number the classes 0, 1, 2, ... without gaps"
        )


def _out_of_range(val: LabelledList, train: LabelledList, count: int) -> UserError:
    row = int(np.argmax(val.labels >= count))
    where = str(val.source)
    if val.source.suffix != ".json":
        lines = read_lines(val.source, "run again")
        where += f" line {[n for n, line in enumerate(lines, 1) if line.strip()][row]}"
    return UserError(
        f"{where}: the label {val.labels[row]} of {val.paths[row]} is out of range; "
        f"the {count} classes of {train.source} are numbered 0 to {count - 1}"
    )

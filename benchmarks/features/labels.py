"""Label files as MMSelfSup and VISSL users have them, read without trusting them.

A label folder holds `train_labels.npy` and `test_labels.npy`, images x classes, in one of two
conventions that share all their values; a file that seems to be of the other one is refused.
Every fault is one `UserError` line that names the file.
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.arrays import open_array
from benchmarks.input_files import is_there, read_file
from slurm.errors import UserError

_NAMES = """
aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor
"""
VOC_CLASSES = tuple(_NAMES.split())

Labels = NDArray[np.int8]
Convention = Literal["fair", "voc"]
# What each value of the files stands for: FAIR's scripts, VISSL and MMSelfSup, or VOC's own lists.
MEANINGS: dict[Convention, str] = {
    "fair": "1 present, 0 absent, -1 ignore",
    "voc": "1 present, -1 absent, 0 difficult",
}
_ABSENT: dict[Convention, int] = {"fair": 0, "voc": -1}
_IGNORED: dict[Convention, int] = {"fair": -1, "voc": 0}


def label_path(folder: Path, split: str) -> Path:
    """train_labels.npy or test_labels.npy."""
    return folder / ("train_labels.npy" if split == "trainval" else "test_labels.npy")


def read_labels(folder: Path, split: str, convention: Convention = "fair") -> Labels:
    """Labels of a split, (N, classes) int8: 1 present, 0 absent and -1 ignore."""
    return _as_ours(_read_label_array(label_path(folder, split)), convention)


def find_convention(folder: Path, stated: Convention | None) -> tuple[Convention, tuple[str, ...]]:
    """The convention of both label files, and notes for the record.

    `stated` is the user's word, None is FAIR's by default. A class with more images to ignore than
    without it, as every class of a file has that is read by the wrong convention, is an error;
    those of FAIR's can be told apart by nobody but the user, whose word makes it a note.
    """
    convention: Convention = stated or "fair"
    files = {label_path(folder, split): split for split in ("trainval", "test")}
    arrays = {path: _read_label_array(path) for path in files}
    like = {path: _reads_like(array) for path, array in arrays.items()}
    (train, test), (of_train, of_test) = arrays, like.values()
    if of_train != of_test:
        raise UserError(
            f"the values of {train} read like {MEANINGS[of_train]}, those of {test} like "
            f"{MEANINGS[of_test]}: write both files in one convention"
        )
    notes = []
    for path, array in arrays.items():
        ignored, absent = (array == _IGNORED[convention]), (array == _ABSENT[convention])
        more = np.flatnonzero(ignored.sum(0) > absent.sum(0))
        if len(more):
            where = (
                f"{path}, class {more[0] + 1}: {int(ignored[:, more[0]].sum())} images to ignore "
                f"and {int(absent[:, more[0]].sum())} without it, when its values are read as "
                f"{MEANINGS[convention]}"
            )
            if stated != "fair":
                raise UserError(f"{where}; {_advice(convention)}")
            notes.append(where)
        same = _same_columns(array)
        if same is not None:
            notes.append(f"{path}: classes {same[0] + 1} and {same[1] + 1} have the same labels")
        if ((array == 1).sum(0) > absent.sum(0)).all():
            notes.append(
                f"{path}: every class is present in more images than it is absent from; "
                "are the labels inverted?"
            )
    return convention, tuple(notes)


def _same_columns(array: Labels) -> tuple[int, int] | None:
    """Two columns, from 0, in which all is the same, as by a mistake of whoever wrote them."""
    seen: dict[bytes, int] = {}
    for column in range(array.shape[1]):
        first = seen.setdefault(array[:, column].tobytes(), column)
        if first != column:
            return first, column
    return None


def _advice(convention: Convention) -> str:
    other: Convention = "voc" if convention == "fair" else "fair"
    sure = "; where they are meant so, pass --label-values fair" if convention == "fair" else ""
    return f"if they are {MEANINGS[other]}, pass --label-values {other}{sure}"


def _reads_like(array: Labels) -> Convention:
    return "voc" if (array == -1).sum() > (array == 0).sum() else "fair"


def _as_ours(array: Labels, convention: Convention) -> Labels:
    if convention == "fair":
        return array
    return np.where(array == 1, 1, np.where(array == -1, 0, -1)).astype(np.int8)


def read_classes(folder: Path, count: int) -> tuple[str, ...]:
    """Class names from classes.json beside the labels, else VOC's twenty, else numbers."""
    path = folder / "classes.json"
    if is_there(path):
        try:
            names = json.loads(read_file(path).decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is not a JSON list of class names: {error}") from None
        if not (isinstance(names, list) and len(names) == count and all(map(_is_name, names))):
            raise UserError(f"{path} must be a JSON list of {count} class names")
        if len(set(names)) < count:
            raise UserError(f"{path} names a class twice: name each of the {count} differently")
        return tuple(names)
    if count == len(VOC_CLASSES):
        return VOC_CLASSES
    return tuple(f"class{number}" for number in range(1, count + 1))


def telling_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names by which a result's key tells classes apart that have the same labels.

    None for VOC's twenty and for names that are numbered in order: no key held any before there
    were others.
    """
    stem = classes[0].rstrip("0123456789") if classes else ""
    numbered = [tuple(f"{stem}{start + row}" for row in range(len(classes))) for start in (0, 1)]
    return () if classes in (VOC_CLASSES, *numbered) else classes


def _is_name(name: Any) -> bool:
    """Whether it is a line of text that can be printed; half a surrogate pair cannot."""
    return isinstance(name, str) and bool(name.strip()) and name.isprintable()


def read_targets(path: Path, shape: tuple[int, int], convention: Convention = "fair") -> Labels:
    """A low-shot label file: 1 and 0 for the drawn rows, -1 elsewhere."""
    targets = _as_ours(_read_label_array(path), convention)
    if targets.shape != shape:
        raise UserError(f"{path} has shape {targets.shape}, the labels of trainval {shape}")
    return targets


def _read_label_array(path: Path) -> Labels:
    """The values as they stand in the file, 1, 0 and -1, (N, classes) int8."""
    array = open_array(path)
    if array.ndim != 2 or array.dtype.kind not in "iuf" or 0 in array.shape:
        raise UserError(
            f"{path} holds {array.dtype} of shape {array.shape}; expected images x classes of "
            "1, 0 and -1"
        )
    wrong = ~np.isin(array, (-1, 0, 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise UserError(
            f"{path} holds {array[row, column]} in row {row}, column {column}; labels are "
            f"{MEANINGS['fair']} (or, with --label-values voc, {MEANINGS['voc']})"
        )
    return np.array(array, dtype=np.int8)

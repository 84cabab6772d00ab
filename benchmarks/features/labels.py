"""Label files as MMSelfSup and VISSL users have them, read without trusting them.

A label folder holds `train_labels.npy` and `test_labels.npy`, images x classes: 1 present, 0
absent, -1 ignore. Every fault is one `UserError` line that names the file.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.arrays import open_array
from slurm.errors import UserError

_NAMES = """
aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor
"""
VOC_CLASSES = tuple(_NAMES.split())

Labels = NDArray[np.int8]


def label_path(folder: Path, split: str) -> Path:
    """train_labels.npy or test_labels.npy."""
    return folder / ("train_labels.npy" if split == "trainval" else "test_labels.npy")


def read_labels(folder: Path, split: str) -> Labels:
    """Validated labels of a split, (N, classes) int8 with 1, 0 and -1."""
    return _read_label_array(label_path(folder, split))


def read_classes(folder: Path, count: int) -> tuple[str, ...]:
    """Class names from classes.json beside the labels, else VOC's twenty, else numbers."""
    path = folder / "classes.json"
    if path.exists():
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is not a JSON list of class names: {error}") from error
        if (
            isinstance(names, list)
            and len(names) == count
            and all(isinstance(name, str) for name in names)
        ):
            return tuple(names)
        raise UserError(f"{path} must be a JSON list of {count} class names")
    if count == len(VOC_CLASSES):
        return VOC_CLASSES
    return tuple(f"class{number}" for number in range(1, count + 1))


def read_targets(path: Path, shape: tuple[int, int]) -> Labels:
    """An official low-shot label file: 1, 0 for the drawn rows, -1 elsewhere."""
    targets = _read_label_array(path)
    if targets.shape != shape:
        raise UserError(f"{path} has shape {targets.shape}, the labels of trainval {shape}")
    return targets


def _read_label_array(path: Path) -> Labels:
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
            f"{path} holds {array[row, column]} in row {row}, column {column}; labels are 1 "
            "(present), 0 (absent) and -1 (ignore)"
        )
    return np.array(array, dtype=np.int8)

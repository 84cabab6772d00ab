"""Feature files as MMSelfSup and VISSL users have them, read without trusting them.

A feature folder holds `voc07_{trainval,test}_feat{1..5}.npy`; every fault is one `UserError` line
that names the file.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.arrays import open_array
from benchmarks.features.kept import while_unchanged
from benchmarks.features.labels import Convention, Labels, label_path, read_classes, read_labels
from benchmarks.input_files import is_folder, is_there
from slurm.errors import UserError
from slurm.threads import share_of

LAYERS = ("feature1", "feature2", "feature3", "feature4", "feature5")
SPLITS = ("trainval", "test")
CHUNK = 512  # rows checked at a time
LARGEST = float(np.finfo(np.float32).max)
SMALLEST_NORM = 1e-8  # a thousandth of what all protocols add to a norm; no solver converges below
ALIKE = 1e-6  # of unit vectors: what rounding to float32 leaves


@dataclass(frozen=True, eq=False)
class LayerData:
    """One layer's memory-mapped features and the labels of both splits."""

    train: NDArray[Any]  # (N, D) float
    test: NDArray[Any]  # (T, D) float
    train_labels: Labels  # (N, classes): 1, 0, -1
    test_labels: Labels  # (T, classes)
    classes: tuple[str, ...]


def feature_path(folder: Path, layer: str, split: str) -> Path:
    """The file of a layer, such as voc07_trainval_feat5.npy for feature5."""
    return folder / f"voc07_{split}_feat{layer.removeprefix('feature')}.npy"


def find_layers(folder: Path) -> tuple[str, ...]:
    """The layers that have a file of either split; `UserError` when there is none."""
    if not is_folder(folder):
        raise UserError(f"no folder {folder}: --features takes the folder of voc07_*_feat*.npy")
    found = tuple(
        layer for layer in LAYERS if any(is_there(feature_path(folder, layer, s)) for s in SPLITS)
    )
    if not found:
        raise UserError(f"{folder} holds none of voc07_{{trainval,test}}_feat{{1..5}}.npy")
    return found


def open_features(folder: Path, layer: str, split: str, rows: int) -> NDArray[Any]:
    """Memory-map a layer's features: (rows, D) float16, 32 or 64; values are not read yet."""
    path = feature_path(folder, layer, split)
    array = open_array(path)
    if array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
        raise UserError(
            f"{path} holds {array.dtype} of shape {array.shape}; expected rows x dimensions "
            "of floating point"
        )
    if len(array) != rows:
        raise UserError(
            f"{path} has {len(array)} rows but the labels of {split} have {rows}: they must be of "
            "the same images in the same order"
        )
    return array


def check_layer(features: Path, labels: Path, layer: str) -> None:
    """Prove cheaply (headers only) that a layer's files are there and fit the labels."""
    widths = {
        split: open_features(features, layer, split, len(read_labels(labels, split))).shape[1]
        for split in SPLITS
    }
    if widths["trainval"] != widths["test"]:
        raise UserError(
            f"{feature_path(features, layer, 'test')} has {widths['test']} dimensions but trainval "
            f"has {widths['trainval']}"
        )


def read_layer(
    features: Path, labels: Path, layer: str, convention: Convention = "fair"
) -> LayerData:
    """Open a layer, and read it once to prove that its values can be measured."""
    check_layer(features, labels, layer)
    train_labels, test_labels = (read_labels(labels, split, convention) for split in SPLITS)
    if train_labels.shape[1] != test_labels.shape[1]:
        raise UserError(
            f"{label_path(labels, 'test')} has {test_labels.shape[1]} classes but trainval has "
            f"{train_labels.shape[1]}"
        )
    train = open_features(features, layer, "trainval", len(train_labels))
    test = open_features(features, layer, "test", len(test_labels))
    _check_content(*(feature_path(features, layer, split) for split in SPLITS))
    classes = read_classes(labels, train_labels.shape[1])
    return LayerData(train, test, train_labels, test_labels, classes)


def fingerprint(*paths: Path) -> str:
    """blake2b of the content of files, in order; 32 hexadecimal digits.

    A file that stays as it is is read once a process.
    """
    digest = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor(2) as pool:
        for one in pool.map(_digest, paths):
            digest.update(one)
    return digest.hexdigest()


@while_unchanged
def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def first_alike(features: NDArray[Any]) -> NDArray[np.int64]:
    """For each row, the first row with the same values, (N,) int64: equal images must tie."""
    seen: dict[bytes, list[int]] = {}
    found = np.arange(len(features))
    for start in range(0, len(features), CHUNK):
        rows = np.ascontiguousarray(features[start : start + CHUNK])
        # Equal rows have equal sums, so only rows of equal sum are compared.
        sums = rows.sum(1, dtype=np.promote_types(rows.dtype, np.float32))
        for row, total in enumerate(sums, start):
            candidates = seen.setdefault(total.tobytes(), [])
            alike = (one for one in candidates if np.array_equal(features[one], features[row]))
            found[row] = next(alike, row)
            if found[row] == row:
                candidates.append(row)
    return found


@while_unchanged
def _check_content(trainval: Path, test: Path) -> None:
    """Read both files whole, once: a command has an item for each k of a layer."""
    train, other = open_array(trainval), open_array(test)
    _check_values(train, trainval)
    _check_values(other, test)
    if train.shape == other.shape and np.array_equal(train, other):
        raise UserError(
            f"{test} holds the features of trainval: no image may be trained on and tested; "
            "extract those of test"
        )


def _check_values(array: NDArray[Any], path: Path) -> None:
    """Refuse what no SVM can be trained on, though it would give a figure, near chance."""
    most, alike = 0.0, len(array) > 1
    empty: list[int] = []  # rows
    first = _directions(array[:1])
    starts = range(0, len(array), CHUNK)

    def look(start: int) -> tuple[float, float, NDArray[np.int64]]:
        """The lowest and highest value, NaN if there is any, and the rows of zeros."""
        chunk = array[start : start + CHUNK]
        return float(chunk.min()), float(chunk.max()), np.flatnonzero(~chunk.any(1))

    with ThreadPoolExecutor(share_of(1, os.environ)) as pool:
        for start, (low, high, zeros) in zip(starts, pool.map(look, starts)):
            chunk = array[start : start + CHUNK]
            if not (np.isfinite(low) and np.isfinite(high)):
                row = start + int(np.argwhere(~np.isfinite(chunk))[0, 0])
                raise UserError(f"{path} holds NaN or infinity in row {row}: extract it again")
            most = max(most, -low, high)
            if most > LARGEST:
                row = start + int(np.argwhere(np.abs(chunk) > LARGEST)[0, 0])
                raise UserError(
                    f"{path} holds {most:.3g} in row {row}, beyond the range of float32 "
                    f"({LARGEST:.3g}): scale the features, or extract them again"
                )
            empty += (start + zeros).tolist()
            for some in (chunk[:2], chunk):  # nearly always two rows tell
                alike = alike and bool((np.abs(_directions(some) - first) <= ALIKE).all())
    if most * np.sqrt(array.shape[1]) < SMALLEST_NORM:
        raise UserError(
            f"{path} holds no value beyond {most:.3g}: nothing is left of such features when they "
            "are divided by (norm + 1e-5), as all SVM protocols do: scale them, or extract them "
            "again"
        )
    if empty:
        raise UserError(
            f"{path} holds only zeros in {len(empty)} of {len(array)} rows, first in row "
            f"{empty[0]}: the file may be half written; extract the features again"
        )
    if alike:
        raise UserError(
            f"{path} is constant: all of its rows have the same features (up to a factor), by "
            "which no image can be told from another; check the network and the extraction"
        )


def _directions(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Rows (N, D) of unit length, or zero."""
    values = np.array(rows, dtype=np.float64)
    values /= np.abs(values).max(1, keepdims=True).clip(np.finfo(np.float64).tiny)
    values /= np.sqrt((values**2).sum(1, keepdims=True)).clip(np.finfo(np.float64).tiny)
    return values

"""What a dataset gives the harness: the files of a split, their labels, and its fingerprint."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Split


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """One split: image files below `root` and their labels, in a fixed order.

    `labels` is (N,) int64 class indices, or (N, C) int8 with 1 present, 0 absent, -1 ignore.
    """

    root: Path
    paths: tuple[str, ...]  # relative to root, with forward slashes
    labels: NDArray[np.int64] | NDArray[np.int8]
    classes: tuple[str, ...]

    def fingerprint(self) -> Split:
        """Number of images and classes, and the hash of the list of paths and labels."""
        digest = hashlib.sha256("\n".join(self.paths).encode())
        digest.update(np.ascontiguousarray(self.labels).astype("<i8").tobytes())
        return Split(len(self.paths), len(self.classes), digest.hexdigest())


@dataclass(frozen=True)
class Dataset:
    """The two splits that a protocol trains and tests on."""

    name: str  # a key of datasets.catalog.DATASETS
    splits: dict[str, ImageSplit]  # {"train": ..., "val": ...} or {"trainval": ..., "test": ...}

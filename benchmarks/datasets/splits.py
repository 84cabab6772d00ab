"""What a dataset gives the harness: the files of a split, their labels, and its fingerprint."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.results import Split
from slurm.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_UNPACKED = (".bmp", ".pgm", ".ppm", ".tif", ".tiff")  # sizes follow from width and height
_READ = 4096  # bytes
SAMPLED = 64  # files of a split whose sizes are looked up; few, since planning waits for them


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """One split: image files below `root` and their labels, in a fixed order.

    `labels` is (N,) int64 class indices, or (N, C) int8 with 1 present, 0 absent, -1 ignore.
    """

    root: Path
    paths: tuple[str, ...]  # relative to root, with forward slashes
    labels: "NDArray[np.int64] | NDArray[np.int8]"
    classes: tuple[str, ...]

    def fingerprint(self) -> Split:
        """Number of images and classes, the hash of the list of paths and labels, and of sizes.

        It does not see what is in the files: an image that was edited, damaged or replaced by
        another of the same size changes nothing here, and neither does a change of size of a file
        that is none of the `SAMPLED`. `UserError` for a path that is not UTF-8.
        """
        import numpy as np

        try:
            digest = hashlib.sha256("\n".join(self.paths).encode())
        except UnicodeEncodeError:
            raise self._odd_name() from None
        digest.update(np.ascontiguousarray(self.labels).astype("<i8").tobytes())
        return Split(len(self.paths), len(self.classes), digest.hexdigest(), self._sizes())

    def _odd_name(self) -> UserError:
        odd = next(path for path in self.paths if not path.isascii() and _is_odd(path))
        return UserError(
            f"the name of {os.fsencode(odd)!r} below {self.root} is not UTF-8: rename it (a record "
            "is of images whose names everybody can write)"
        )

    def take(self, rows: "NDArray[np.int64]") -> "ImageSplit":
        """Some of the images, in the order of `rows`."""
        paths = tuple(self.paths[row] for row in rows.tolist())
        return replace(self, paths=paths, labels=self.labels[rows])

    def require(self, planned: Split) -> None:
        """Raise `UserError` unless these are the images that were planned with.

        What is written of them is named after the plan, and hours can lie between the two.
        """
        if self.fingerprint() != planned:
            raise UserError(
                f"the images below {self.root} or their list were changed after this run was "
                "planned: run the command again"
            )

    def _sizes(self) -> str:
        """Hash of the bytes of `SAMPLED` files spread over the list; a missing file counts -1.

        A corrupted or resized copy of a dataset has the same list, and nearly no file of the same
        size. Where files of one size hold anything, some of their content is read as well.
        """
        import numpy as np

        rows = np.unique(np.linspace(0, len(self.paths) - 1, SAMPLED).astype(np.int64))
        sizes = [_trait(self.root / self.paths[row]) for row in rows.tolist()]
        return hashlib.sha256(repr(sizes).encode()).hexdigest()[:16]


def _is_odd(path: str) -> bool:
    return any("\ud800" <= sign <= "\udfff" for sign in path)


def _trait(path: Path) -> int | tuple[int, str]:
    """The size of a file, -1 where there is none; of one without compression its middle as well."""
    try:
        size = path.stat().st_size
        if path.suffix.lower() not in _UNPACKED:
            return size
        with path.open("rb", buffering=0) as file:
            file.seek(max(0, size - _READ) // 2)
            return size, hashlib.sha256(file.read(_READ)).hexdigest()[:16]
    except OSError:
        return -1


@dataclass(frozen=True)
class Dataset:
    """The two splits that a protocol trains and tests on."""

    name: str  # a key of datasets.catalog.DATASETS
    splits: dict[str, ImageSplit]  # {"train": ..., "val": ...} or {"trainval": ..., "test": ...}
    notes: tuple[str, ...] = ()  # what a record must say of them


class Size(NamedTuple):
    """How large a split officially is."""

    images: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """One dataset; every field must be said, so that none is forgotten."""

    name: str  # in protocols, and in the names of what is kept of it
    title: str  # as model cards call it
    folder: str  # where a suite finds it below --data (MMSelfSup's layout)
    load: Callable[[Path], Dataset]
    sizes: Mapping[str, Size]  # by split; what is smaller or larger is not the real data

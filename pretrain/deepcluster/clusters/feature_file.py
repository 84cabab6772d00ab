"""All images' features as one .npy file, written by many processes and mapped by one.

ImageNet's 1.28 million features of 2048 dimensions are 10.5 GB: too much for Python lists, or for
a copy in every process. Each process writes its rows with ordinary writes, which, unlike a memory
map, keep neighbouring rows of other machines intact on NFS and end a full disk in an error. By
choice they are kept in half the space, as fp16.
"""

import os
import platform
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from slurm.errors import UserError

Precision = Literal["fp32", "fp16"]
_TYPES: dict[Precision, np.dtype[Any]] = {"fp32": np.dtype("<f4"), "fp16": np.dtype("<f2")}
_DAY = 86_400.0


def feature_path(folder: Path) -> Path:
    """A path of this process's own, so that two runs of one name do not share a file."""
    return folder / f"features.{platform.node() or 'host'}.{os.getpid()}.npy"


def create(path: Path, rows: int, width: int, precision: Precision = "fp32") -> None:
    """Make a (rows, width) .npy file of float32 or float16 whose rows are yet to be written."""
    kind = _TYPES[precision]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        header = {"descr": kind.str, "fortran_order": False, "shape": (rows, width)}
        npy.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * width * kind.itemsize)


class RowWriter:
    """Writes consecutive rows from `first` on; a context manager."""

    def __init__(self, path: Path, first: int) -> None:
        self._file = path.open("rb+")
        npy.read_magic(self._file)
        shape, _, self._type = npy.read_array_header_1_0(self._file)
        self._file.seek(self._file.tell() + first * shape[1] * self._type.itemsize)

    def write(self, rows: NDArray[np.float32]) -> None:
        """Append (n, width) rows; `UserError` for values too large for the file's type."""
        with np.errstate(over="ignore"):
            kept = np.ascontiguousarray(rows, self._type)
        lost = np.isinf(kept) & np.isfinite(rows) if kept.itemsize < rows.itemsize else False
        if np.any(lost):
            raise UserError(
                f"features of up to {np.abs(rows[lost]).max():.3g} are too large for fp16, whose "
                f"limit is {np.finfo(self._type).max}: begin anew with --features fp32"
            )
        self._file.write(kept.tobytes())

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def read(path: Path) -> NDArray[Any]:
    """Map the file: (rows, width) float32 or float16."""
    features: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return features


def stripe(rows: int, rank: int, size: int) -> tuple[int, int]:
    """First and last-plus-one row of process `rank` of `size`; shares differ by at most one."""
    return rows * rank // size, rows * (rank + 1) // size


def remove_abandoned(folder: Path) -> None:
    """Delete what killed runs left: files of dead processes of this machine, or a day old."""
    for path in folder.glob("*features.*.npy"):
        try:
            if _is_abandoned(path):
                path.unlink()
        except FileNotFoundError:
            continue


def _is_abandoned(path: Path) -> bool:
    _, _, owner = path.name.partition("features.")
    host, _, process = owner.removesuffix(".npy").rpartition(".")
    if host == platform.node() and process.isdigit():
        return not Path(f"/proc/{process}").exists() and Path("/proc/self").exists()
    return time.time() - path.stat().st_mtime > _DAY

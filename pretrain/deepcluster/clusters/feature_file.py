"""All images' features as one .npy file, written by many processes and mapped by one.

ImageNet's 1.28 million features of 2048 dimensions are 10.5 GB: too much for Python lists, or for
a copy in every process. Each process writes its rows with ordinary writes, which, unlike a memory
map, keep neighbouring rows of other machines intact on NFS and end a full disk in an error.
"""

import os
import platform
import time
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_ROW_TYPE = np.dtype("<f4")
_DAY = 86_400.0


def feature_path(folder: Path) -> Path:
    """A path of this process's own, so that two runs of one name do not share a file."""
    return folder / f"features.{platform.node() or 'host'}.{os.getpid()}.npy"


def create(path: Path, rows: int, width: int) -> None:
    """Make a (rows, width) float32 .npy file whose rows are yet to be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        header = {"descr": _ROW_TYPE.str, "fortran_order": False, "shape": (rows, width)}
        npy.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * width * _ROW_TYPE.itemsize)


class RowWriter:
    """Writes consecutive rows from `first` on; a context manager."""

    def __init__(self, path: Path, first: int) -> None:
        self._file = path.open("rb+")
        npy.read_magic(self._file)
        shape, _, _ = npy.read_array_header_1_0(self._file)
        self._file.seek(self._file.tell() + first * shape[1] * _ROW_TYPE.itemsize)

    def write(self, rows: NDArray[np.float32]) -> None:
        """Append (n, width) rows."""
        self._file.write(np.ascontiguousarray(rows, _ROW_TYPE).tobytes())

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def read(path: Path) -> NDArray[np.float32]:
    """Map the file: (rows, width) float32."""
    features: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
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

"""A file of features under way: rows are appended, and a run that was stopped goes on with them.

`.train.part` grows beside what becomes `train.npy`; `.train.json` says how many of its rows are on
the disk for certain. Whoever writes holds a lock; a second process writes a file of its own from
the first row on. Where a file system has no locks, whoever writes moves the part away, and back at
a stop.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from slurm.failures import UNREADABLE
from slurm.files import write_bytes
from slurm.leftovers import remove_leftovers, temporary_beside

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAVE_SECONDS = 10.0  # between two saves
CODES = {"fp16": "<f2", "fp32": "<f4"}  # of .npy headers
BYTES = {"fp16": 2, "fp32": 4}


class Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a part has come, and by what it must go on."""

    rows: int
    width: int
    made: str  # how the features are computed


class RowsFile:
    """What becomes `path`, an array (rows, width) in .npy format of `dtype` fp16 or fp32."""

    def __init__(self, path: Path, rows: int, width: int, dtype: str, made: str) -> None:
        """`made` is how the features are computed: rows that were made otherwise are not kept."""
        self.path, self.rows, self.width, self.dtype, self.made = path, rows, width, dtype, made
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        self.part = path.with_name(f".{path.stem}.part")
        self.state = state_path(path)
        self._back: Path | None = None  # where the part belongs, if it was moved away
        self._file, self.shared = self._open()  # whether others go on with it
        self._header = len(_header(rows, width, dtype))
        self.done = self._found() if self.shared else 0
        self._saved = time.monotonic()
        self._file.truncate(self._header + self.done * self._row_bytes)
        self._file.seek(0)
        self._file.write(_header(rows, width, dtype))
        self._file.seek(0, os.SEEK_END)

    @property
    def _row_bytes(self) -> int:
        return self.width * BYTES[self.dtype]

    def _open(self) -> tuple[BinaryIO, bool]:
        """The file to write, and whether it is the one that others go on with."""
        # Another process may move the part away at any instant.
        file = os.fdopen(os.open(self.part, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        own = temporary_beside(self.path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file, True
        except (BlockingIOError, PermissionError):  # another process is at it
            pass
        except OSError:  # no locks here
            with suppress(FileNotFoundError):  # another process was faster
                self.part.rename(own)
                self.part, self._back = own, self.part
                return file, True
        file.close()
        self.part = own
        return self.part.open("w+b"), False

    def _found(self) -> int:
        """The rows of an earlier run that can be kept."""
        saved = read_saved(self.path)
        if saved is None or (saved.width, saved.made) != (self.width, self.made):
            return 0
        there = (self.part.stat().st_size - self._header) // self._row_bytes
        return saved.rows if saved.rows <= min(there, self.rows) else 0

    def append(self, rows: "NDArray[Any]") -> None:
        """Write the next rows (n, width)."""
        self._file.write(rows.astype(CODES[self.dtype]).tobytes())
        self.done += len(rows)
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Bring to the disk what was appended, and note it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if self.shared:
            saved = Saved(self.done, self.width, self.made)
            write_bytes(self.state, msgspec.json.encode(saved) + b"\n")
        self._saved = time.monotonic()

    def finish(self) -> None:
        """All rows are there: the file takes its name."""
        if self.done != self.rows:
            raise RuntimeError(f"{self.path} would have {self.done} of {self.rows} rows")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.part.replace(self.path)
        self._back = None
        self._file.close()
        if self.shared:
            self.state.unlink(missing_ok=True)

    def close(self) -> None:
        """After a failure: keep what others can go on with, and nothing else."""
        self._file.close()
        if self._back is not None:
            self.part.replace(self._back)
        if not self.shared:
            self.part.unlink(missing_ok=True)


def state_path(path: Path) -> Path:
    """Where it is noted how far the part of `path` has come."""
    return path.with_name(f".{path.stem}.json")


def read_saved(path: Path) -> Saved | None:
    """How far the part of `path` has come; None where nothing valid is noted."""
    with suppress(*UNREADABLE):
        return msgspec.json.decode(state_path(path).read_bytes(), type=Saved)
    return None


def _header(rows: int, width: int, dtype: str) -> bytes:
    import io

    from numpy.lib import format as npy

    buffer = io.BytesIO()
    header = {"descr": CODES[dtype], "fortran_order": False, "shape": (rows, width)}
    npy.write_array_header_1_0(buffer, header)
    return buffer.getvalue()

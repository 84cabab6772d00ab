"""Files that many jobs on one shared filesystem can write at once: whole or not at all."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slurm.errors import UserError
from slurm.leftovers import remove_leftovers, temporary_beside

_POINTER = b"version https://git-lfs.github.com/spec/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_CHUNK = 2**20  # bytes

FileMark = tuple[int, int, int]  # time of change in nanoseconds, size, inode


def check_name(name: str, what: str) -> str:
    """Return `name` if it can safely be one path component; else raise `UserError`."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{what} {name!r} is not usable as a file name: use 1 to 128 letters, digits, "
            "'.', '_', '+' or '-', starting with a letter or a digit"
        )
    return name


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it onto `path`.

    On an exception the temporary file is removed and `path` is untouched. Two writers of the
    same path never see each other's bytes: the last rename wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    temporary = temporary_beside(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # A failed write does not say where; a failed open names what is gone by now.
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    _sync_directory(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Atomically replace `path` by `content`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Atomically replace `path` by `content` as UTF-8, line endings untouched."""
    write_bytes(path, content.encode("utf-8"))


def read_regular(path: Path | str) -> bytes:
    """The bytes of a regular file; `OSError` for any other, since a FIFO would be waited for."""
    # By the system's own calls, which take a third of the time: plans read tens of thousands.
    status = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        asked = status.st_size + 1  # by one more it shows its end at once
        content = os.read(descriptor, asked)
        if len(content) == status.st_size:
            return content
        while part := os.read(descriptor, _CHUNK):  # a short read, one that grew or tells no size
            content += part
        return content
    finally:
        os.close(descriptor)


def file_mark(path: Path) -> FileMark | None:
    """What changes whenever `path` is written anew; None when it is not there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def refuse_pointer(path: Path | str, content: bytes) -> None:
    """`UserError` for what Git LFS leaves in the place of a file that it has not fetched."""
    if content.startswith(_POINTER):
        raise UserError(
            f"{path} is a Git LFS pointer, not the file itself: run git lfs pull where it was "
            "cloned"
        )


def check_is_there(zoo: Path) -> None:
    """`UserError` unless there is a zoo that can be listed."""
    if not zoo.is_dir():
        raise UserError(f"there is no zoo at {zoo}; name its directory with --zoo")


def check_writable(directory: Path, other: str = "--zoo or the environment variable ZOO") -> None:
    """Create `directory` and prove that a file can be written there, or raise `UserError`.

    `other` is the flag by which the user names another one.
    """
    probe = temporary_beside(directory / "write-test")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write in {directory}: {error.strerror}; choose another place with {other}"
        ) from error


def _sync_directory(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network filesystems refuse to sync a directory; the rename is still atomic
    finally:
        os.close(descriptor)

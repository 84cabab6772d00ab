"""Files that users give us: regular files only, and one line for all that can be wrong with one.

A pipe in place of a file would be waited for, a device never ends.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from slurm.errors import UserError
from slurm.files import refuse_pointer

OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # no fault of the file


def require_file(path: Path, remedy: str = "check the path") -> None:
    """Raise `UserError` with the remedy unless `path` is a regular file, or a link to one."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise reading_error(path, error, remedy) from None
    if not stat.S_ISREG(mode):
        raise _irregular(path, mode, remedy)


def open_file(path: Path, remedy: str = "check the path") -> BinaryIO:
    """Open a regular file to read its bytes; `UserError` with the remedy for anything else."""
    try:
        # Without O_NONBLOCK, to open a pipe is to wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
            raise
        raise reading_error(path, error, remedy) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _irregular(path, mode, remedy)
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, remedy: str = "check the path") -> bytes:
    """The bytes of a regular file; `UserError` with the remedy when they cannot be read."""
    with open_file(path, remedy) as file:
        try:
            content = file.read()
        except OSError as error:
            raise reading_error(path, error, remedy) from None
    refuse_pointer(path, content)
    return content


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder, or a link to one; `UserError` when that cannot be known."""
    try:
        return path.is_dir()
    except OSError as error:
        raise reading_error(path, error, "check the path") from None


def is_there(path: Path) -> bool:
    """Whether anything has this name: a file, a folder, or a link that leads nowhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise reading_error(path, error, "check the path") from None
    return True


def reading_error(path: Path, error: Exception, remedy: str) -> UserError:
    """The line that says why `path` cannot be read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        state = "is a link that leads nowhere" if path.is_symlink() else "does not exist"
        return UserError(f"{path} {state}; {remedy}")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UserError(f"cannot read {str(path)[:300]}: {reason}; {remedy}")


def _irregular(path: Path, mode: int, remedy: str) -> UserError:
    if stat.S_ISDIR(mode):
        return UserError(f"cannot read {path}: Is a directory, where a file is expected; {remedy}")
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
    return UserError(f"cannot read {path}: it is {kind}, where a file is expected; {remedy}")

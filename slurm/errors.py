"""The errors that end a command with one clear line instead of a traceback."""

import errno
import os
import re
from pathlib import Path

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Of a path that a user gave, or a name that is made of one.
_WRONG_PATH = (
    *(errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY),
    errno.ELOOP,
)
_MISSING = (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EINVAL)
# As slurm.leftovers names them: hidden, with their owner, process and some random letters.
_TEMPORARY = (
    r"(?P<folder>(?:.*/)?)\.(?P<name>[^/]+?)(?:\.[A-Za-z0-9-]+-\d*)?\.\d+\.[0-9a-f]{8}(?:\.tmp)?"
)
_LONGEST = 500  # characters of a path that are shown
_NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


class UserError(Exception):
    """A mistake the user can mend: what is wrong, where, and what to do, in one line (exit 2)."""


class SweepError(Exception):
    """Some items of a sweep failed; the others are finished and kept (exit 1).

    `failures` maps the key of each failed item to its one-line reason.
    """

    def __init__(self, failures: dict[str, str]) -> None:
        self.failures = failures
        shown = "; ".join(f"{key}: {reason}" for key, reason in list(failures.items())[:5])
        more = f" (and {len(failures) - 5} more)" if len(failures) > 5 else ""
        super().__init__(f"{len(failures)} item(s) failed: {shown}{more}")


def one_line(message: str) -> str:
    """`message` with every run of white space made one space, and nothing a terminal obeys."""
    text = " ".join(message.split())
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def user_error(error: BaseException) -> UserError | None:
    """`error` as a `UserError` if the user can mend it: a full disk and a forbidden file are."""
    if isinstance(error, UserError):
        return error
    if not isinstance(error, OSError):
        return None
    name = _file_of(error)
    if error.errno in _NO_ROOM:
        what = f"writing {name}" if name else "writing"
        return UserError(f"no room left while {what}: free some space and run again")
    if error.errno in _NO_PERMISSION and name:
        return UserError(f"no permission for {name}: {error.strerror}")
    if error.errno in _WRONG_PATH and name:
        return UserError(f"{name}: {error.strerror}; name another path, or move what is there")
    return None


def path_error(error: OSError) -> Exception | None:
    """What an `OSError` that ends a command comes to, if one line says it all.

    A `UserError` for a path that is not there or cannot be opened, a `SweepError` for a device or
    a network that fails; None for an error that names no file.
    """
    mendable = user_error(error)
    if mendable:
        return mendable
    name = _file_of(error)
    if not name:
        return _homeless() if error.errno == errno.ENOENT else None
    line = f"{name}: {error.strerror or error}"
    return UserError(line) if error.errno in _MISSING else SweepError({name: str(error.strerror)})


def check_working_folder() -> None:
    """`UserError` when the working folder is gone.

    Numerical libraries look for it, and end the process, though all our paths be absolute.
    """
    gone = _homeless()
    if gone:
        raise gone


def _homeless() -> UserError | None:
    try:
        Path.cwd()
    except OSError:
        return UserError("the working folder is gone: cd to one that is there, and run again")
    return None


def _file_of(error: OSError) -> str:
    """The file that an error names; for a temporary one, the file that it was to become."""
    if not isinstance(error.filename, (str, bytes, os.PathLike)):
        return ""
    name = os.fsdecode(error.filename)
    found = re.fullmatch(_TEMPORARY, name)
    whole = f"{found['folder']}{found['name']}" if found else name
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}..."

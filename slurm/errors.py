"""The errors that end a command with one clear line instead of a traceback."""

import errno

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
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
    """`message` with every run of white space made one space."""
    return " ".join(message.split())


def user_error(error: BaseException) -> UserError | None:
    """`error` as a `UserError` if the user can mend it: a full disk and a forbidden file are."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = error.filename or "the zoo"
        return UserError(f"no room left while writing {where}: free some space and run again")
    if isinstance(error, OSError) and error.errno in _NO_PERMISSION and error.filename:
        return UserError(f"no permission for {error.filename}: {error.strerror}")
    return None

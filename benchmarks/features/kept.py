"""What was found out about whole files, kept in this process while they stay as they are."""

import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")

# Of the last change of a file. One that was written a moment ago may be written again within the
# same tick of the file system's clock, without a trace.
SETTLED = 2.0  # seconds

_Identity = tuple[int, int, int, int, int]


def while_unchanged(work: Callable[..., Found]) -> Callable[..., Found]:
    """`work(*paths)`, done once for files of the same inode, size and times of change.

    Only what was found of files that had not been touched for `SETTLED` seconds, and stayed as
    they were meanwhile, is kept; an exception never is.
    """
    known: dict[tuple[Path, ...], tuple[list[_Identity], Found]] = {}

    @wraps(work)
    def once(*paths: Path) -> Found:
        before, now = _identities(paths), time.time_ns()
        kept = known.get(paths)
        if kept is not None and before is not None and kept[0] == before:
            return kept[1]
        known.pop(paths, None)
        found = work(*paths)
        if before is not None and before == _identities(paths) and _settled(before, now):
            known[paths] = before, found
        return found

    return once


def _settled(files: list[_Identity], now: int) -> bool:
    return all(now - changed > SETTLED * 1e9 for one in files for changed in one[3:])


def _identities(paths: tuple[Path, ...]) -> list[_Identity] | None:
    """None when one of them is not there: it is for `work` to say so."""
    try:
        stats = [path.stat() for path in paths]
    except OSError:
        return None
    return [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats]

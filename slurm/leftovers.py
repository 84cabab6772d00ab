"""Temporary files: named after who writes them, so that those of killed processes can be removed.

A process that is killed cannot tidy up, and some of its files are gigabytes. Whoever writes to a
folder next removes what processes left there that are dead for certain: of this machine and this
space of process numbers, as in the name; what others left goes after a day without a change.
"""

import os
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

DAY = 86_400.0
MOST_STEM = 150  # bytes of a file's name in that of its temporary; 255 are all there can be


def temporary_beside(path: Path) -> Path:
    """A name beside `path` that no other process takes, hidden, for what becomes `path`."""
    stem = os.fsdecode(os.fsencode(path.name)[:MOST_STEM])
    return path.parent / f".{stem}.{_owner()}.{os.getpid()}.{os.urandom(4).hex()}.tmp"


@lru_cache(maxsize=4096)
def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of dead processes in `folder`, once a process."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(".tmp"):
                with suppress(OSError):
                    if _is_abandoned(entry):
                        _remove(entry)


def _remove(entry: "os.DirEntry[str]") -> None:
    if entry.is_dir(follow_symlinks=False):
        import shutil

        shutil.rmtree(entry.path)
    elif entry.is_file(follow_symlinks=False):
        os.unlink(entry.path)  # noqa: PTH108


def _is_abandoned(entry: "os.DirEntry[str]") -> bool:
    rest, process, *_ = [*entry.name.rsplit(".", 3), ""]
    if process.isdigit() and rest.endswith(f".{_owner()}") and Path("/proc/self").exists():
        return not Path(f"/proc/{process}").exists()
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > DAY


@lru_cache(maxsize=1)
def _owner() -> str:
    """This machine and its space of process numbers, which containers have of their own."""
    space = ""
    with suppress(OSError):
        space = "".join(filter(str.isdigit, os.readlink("/proc/self/ns/pid")))  # noqa: PTH115
    host = "".join(letter if letter.isalnum() else "-" for letter in os.uname().nodename)
    return f"{host[:40] or 'host'}-{space}"

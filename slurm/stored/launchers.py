"""Files that say which process does what only one shall do, such as `launcher.json` of a run.

They are renewed now and then. No lock of the filesystem is relied on: of several processes that
claim a file at once, the last one to write it has it.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from slurm.failures import UNREADABLE
from slurm.files import read_regular, write_bytes
from slurm.progress import say

NAME = "launcher.json"
STALE_SECONDS = 120.0  # of a file that nobody renewed
SETTLE_SECONDS = 1.0  # after which several that claimed a file at once all see the same content


class Launcher(msgspec.Struct, frozen=True):
    """The process that has a file; most look after a run."""

    host: str
    pid: int
    token: str
    time: float  # seconds since 1970


def claim(path: Path, token: str) -> Launcher | None:
    """Take the file for this process, or renew it; the living process that has it, if another."""
    found = _read(path)
    other = _living(found, token)
    if other is None:
        renew(path, token)
        if found is None or found.token != token:
            time.sleep(SETTLE_SECONDS)
            other = other_launcher(path, token)
    return other


def other_launcher(path: Path, token: str) -> Launcher | None:
    """The living process, other than the one of `token`, that has the file."""
    return _living(_read(path), token)


def renew(path: Path, token: str) -> None:
    """Say that this process has the file."""
    launcher = Launcher(socket.gethostname(), os.getpid(), token, time.time())
    write_bytes(path, msgspec.json.encode(launcher) + b"\n")


def release(path: Path, token: str) -> None:
    """Say that nobody does, if this process did."""
    found = _read(path)
    if found is not None and found.token == token:
        with suppress(OSError):
            path.unlink()


@contextmanager
def alone(path: Path, token: str, what: str) -> Iterator[None]:
    """Wait until no other process has the file, which this one has within the block.

    `what` is said of the other process: what it does.
    """
    told = False
    while (other := claim(path, token)) is not None:
        if not told:
            say(f"process {other.pid} on {other.host} {what}: waiting for it")
        told = True
        time.sleep(SETTLE_SECONDS)
    try:
        yield
    finally:
        release(path, token)


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs on this machine."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> Launcher | None:
    with suppress(OSError), os.scandir(path.parent):
        pass  # opened anew, a folder on NFS shows what other machines have renamed there
    try:
        return msgspec.json.decode(read_regular(path), type=Launcher)
    except UNREADABLE:
        return None


def _living(found: Launcher | None, token: str) -> Launcher | None:
    """`found` if it is another process, and not known to be gone."""
    if found is None or found.token == token or abs(time.time() - found.time) > STALE_SECONDS:
        return None
    if found.host == socket.gethostname() and not is_alive(found.pid):
        return None
    return found

"""`launcher.json` in a run's folder: which process looks after the run, renewed now and then."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from slurm.failures import UNREADABLE
from slurm.files import read_regular, write_bytes

NAME = "launcher.json"
STALE_SECONDS = 120.0  # of a file that nobody renewed


class Launcher(msgspec.Struct, frozen=True):
    """The process that looks after a run."""

    host: str
    pid: int
    token: str
    time: float  # seconds since 1970


def other_launcher(folder: Path, token: str) -> Launcher | None:
    """The living process, other than the one of `token`, that looks after the run in `folder`."""
    try:
        found = msgspec.json.decode(read_regular(folder / NAME), type=Launcher)
    except UNREADABLE:
        return None
    if found.token == token or abs(time.time() - found.time) > STALE_SECONDS:
        return None
    if found.host == socket.gethostname() and not is_alive(found.pid):
        return None
    return found


def renew_launcher(folder: Path, token: str) -> None:
    """Say that this process looks after the run in `folder`."""
    launcher = Launcher(socket.gethostname(), os.getpid(), token, time.time())
    write_bytes(folder / NAME, msgspec.json.encode(launcher) + b"\n")


def release_launcher(folder: Path, token: str) -> None:
    """Say that nobody does, if this process did."""
    with suppress(*UNREADABLE):
        if msgspec.json.decode(read_regular(folder / NAME), type=Launcher).token == token:
            (folder / NAME).unlink()


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

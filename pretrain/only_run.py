"""One run of a name at a time: two would write one state, one log and one set of clusters."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError, user_error


@contextmanager
def only_run(state: Path, world: World) -> Iterator[None]:
    """Hold the folder of `state`, which is that of a name, while the block runs.

    `UserError` in every process of the world when another run holds it. A dead one holds nothing;
    where a file system has no locks, nobody is kept out.
    """
    held, mistakes, lock = None, list[UserError](), state.with_name(".lock")
    if world.first:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            held = _hold(lock)
        except (UserError, OSError) as error:
            mistake = user_error(error)
            if mistake is None:
                raise
            mistakes.append(mistake)
    try:
        distributed.raise_together(mistakes)
        yield
    finally:
        if held is not None:
            with suppress(OSError):
                lock.unlink()
            held.close()


def _hold(path: Path) -> BinaryIO:
    while True:
        try:
            lock = path.open("ab")
        except PermissionError:
            raise UserError(
                f"{path} is of a run of this name by another user: wait for its end, or choose "
                "another --name (if no process is left of it, have the file removed)"
            ) from None
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            lock.close()
            raise UserError(
                f"another run of this name is under way, which holds {path}: wait for its end, or "
                "choose another --name (if no process is left of it, remove the file)"
            ) from None
        except OSError:  # no locks here
            return lock
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()  # of a run that ended meanwhile

"""One run of a name at a time: two would write one state, one log and one set of clusters."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError, user_error
from slurm.progress import say
from slurm.scheduler.environment import in_batch_job
from slurm.stop import Stopped, stop_requested

PAUSE = 5.0  # seconds between two looks at a lock that another start of the run holds


class Pretraining(Protocol):
    """What a pretraining says of itself."""

    @property
    def state(self) -> Path:
        """What an interrupted run continues from."""

    @property
    def identity(self) -> str:
        """All that decides an epoch's weights."""

    def done(self) -> bool:
        """Whether its checkpoint is registered."""


class _Held(UserError):
    """Another run holds the name."""

    def __init__(self, message: str, *, same: bool) -> None:
        super().__init__(message)
        self.same = same  # for all that is known it is this very run


@contextmanager
def only_run(item: Pretraining, world: World) -> Iterator[bool]:
    """Hold the folder of the item's state, which is that of a name, while the block runs.

    Yields whether the item is done: another process made this very run since this one was planned.

    `UserError` in every process of the world when another run holds it. A job of SLURM waits for
    another start of its own run: when a node drops out, SLURM starts its job elsewhere, while the
    processes on the lost node may go on. It may raise `Stopped` then. A dead run holds nothing;
    where a file system has no locks, nobody is kept out.
    """
    held, lock, told = None, item.state.with_name(".lock"), False
    try:
        while True:
            mistakes, waits = list[UserError](), False
            if world.first:
                try:
                    lock.parent.mkdir(parents=True, exist_ok=True)
                    held = _hold(lock, item.identity)
                except (UserError, OSError) as error:
                    mistake = user_error(error)
                    if mistake is None:
                        raise
                    waits = isinstance(mistake, _Held) and mistake.same and in_batch_job()
                    mistakes += [] if waits else [mistake]
            distributed.raise_together(mistakes)
            said = (waits, stop_requested(), held is not None and _is_done(item))
            waits, stops, done = cast(tuple[bool, bool, bool], distributed.broadcast_object(said))
            if not waits:
                break
            if stops:
                raise Stopped(f"stopped while another start of this run held {lock}")
            if world.first and not told:
                say(
                    f"another start of this run is under way, which holds {lock}: waiting for its "
                    "end (if no process is left of it, remove the file)"
                )
            told = True
            time.sleep(PAUSE)
        yield done
    finally:
        if held is not None:
            with suppress(OSError):
                lock.unlink()
            held.close()


def _is_done(item: Pretraining) -> bool:
    with suppress(UserError):
        return item.done()
    return False


def _hold(path: Path, identity: str) -> BinaryIO:
    digest = sha256(identity.encode()).hexdigest().encode()
    while True:
        try:
            lock = path.open("a+b")
        except PermissionError:
            raise UserError(
                f"{path} is of a run of this name by another user: wait for its end, or choose "
                "another --name (if no process is left of it, have the file removed)"
            ) from None
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            lock.seek(0)
            holder = lock.read()
            lock.close()
            raise _Held(
                f"another run of this name is under way, which holds {path}: wait for its end, or "
                "choose another --name (if no process is left of it, remove the file)",
                same=holder == digest or len(holder) != len(digest),
            ) from None
        except OSError:  # no locks here
            return lock
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                lock.truncate(0)
                lock.write(digest)
                lock.flush()
                os.fsync(lock.fileno())  # for whoever looks from another machine
                return lock
        lock.close()  # of a run that ended meanwhile

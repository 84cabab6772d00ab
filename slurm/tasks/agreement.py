"""One sweep in several processes that torchrun started: rank 0 decides, the others follow.

Every process runs the same command and so the same `run_sweep`. Would each look for itself
whether a result is there, one could skip an item for which the others wait. So rank 0 tells, in
the key-value store that torchrun's agent keeps for its workers, what is missing, whether each
item is started, and how it ended. The store is there before and apart from any process group.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import msgspec

from slurm.cli import report_failure
from slurm.errors import UserError, user_error
from slurm.failures import Failure, failure_of, raise_failures
from slurm.stop import Stopped
from slurm.sweep import Item, all_items, items_to_run

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

# Runs an item and says why it failed; before, calls its third argument with whether it will run.
Attempt = Callable[[Item, dict[str, Failure], Callable[[bool], None]], Failure | None]

_PATIENCE = timedelta(days=14)  # with rank 0 at work; when it dies, torchrun ends the others
_GRACE = timedelta(seconds=60)  # for rank 0 to meet an error that ended another process's item
_HEARSAY = timedelta(seconds=5)  # for the word of another process to reach rank 0
_LEAVE = timedelta(seconds=20)  # for the processes to end together
_sweeps = 0  # so far in this process; the same number in every process


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 and "RANK" in os.environ


def run_agreed(goals: Sequence[Item], attempt: Attempt) -> dict[str, Failure]:
    """Run what rank 0 finds missing; the failures, the same in every process.

    Items that cannot be distributed are run by rank 0 alone, while the others wait.
    """
    global _sweeps
    _sweeps += 1
    store = _agent_store(f"sweep/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{_sweeps}")
    return _lead(goals, attempt, store) if os.environ["RANK"] == "0" else _follow(goals, store)


def end_together(failures: Iterable[Failure]) -> NoReturn:
    """End every process with the exit code of what failed; rank 0 says what that is.

    torchrun ends all others as soon as one has ended, so none does before rank 0 has spoken.
    """
    rank, size = os.environ["RANK"], int(os.environ["WORLD_SIZE"])
    code = 1
    try:
        raise_failures(failures)
    except Exception as error:
        code = report_failure(error, aloud=rank == "0")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, for whoever is the last to end
    store = _agent_store(f"end/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{_sweeps}")
    store.set(rank, "")
    with suppress(RuntimeError):
        store.wait([str(other) for other in range(size)], _LEAVE)
    sys.exit(code)


def _lead(goals: Sequence[Item], attempt: Attempt, store: "Store") -> dict[str, Failure]:
    items = items_to_run(goals)
    store.set("keys", msgspec.json.encode([item.key for item in items]).decode())
    failures: dict[str, Failure] = {}
    for item in items:

        def announce(starts: bool, key: str = item.key) -> None:
            store.set(f"{key} starts", str(starts))

        failure = attempt(item, failures, announce)
        if failure is not None and not failure.mendable and item.resources.distributed:
            failure = _mistake(store, item.key) or failure
        store.set(f"{item.key} ended", msgspec.json.encode(failure).decode())
        if failure is not None:
            failures[item.key] = failure
    return failures


def _follow(goals: Sequence[Item], store: "Store") -> dict[str, Failure]:
    items = all_items(goals)
    failures: dict[str, Failure] = {}
    for key in msgspec.json.decode(store.get("keys"), type=list[str]):
        if store.get(f"{key} starts") == b"True" and items[key].resources.distributed:
            try:
                items[key].run()
            except Stopped:
                raise
            except Exception as error:
                if user_error(error) is None:
                    traceback.print_exc()
                _tell(store, key, error)
                if not _is_there(store, f"{key} ended", _GRACE):
                    raise  # rank 0 waits for us in a collective: let torchrun end it
        failure = msgspec.json.decode(store.get(f"{key} ended"), type=Failure | None)
        if failure is not None:
            failures[key] = failure
    return failures


def _tell(store: "Store", key: str, error: Exception) -> None:
    """Say that the user can mend what ends the item here; rank 0 may see but a lost connection."""
    failure = failure_of(key, error)
    if failure.mendable:
        store.set(f"{key} mistake", msgspec.json.encode(failure).decode())


def _mistake(store: "Store", key: str) -> Failure | None:
    """The user's mistake that another process met in this item, if one did."""
    name = f"{key} mistake"
    if not _is_there(store, name, _HEARSAY):
        return None
    return msgspec.json.decode(store.get(name), type=Failure)


def _is_there(store: "Store", name: str, patience: timedelta) -> bool:
    try:
        store.wait([name], patience)
    except RuntimeError:  # its time is up
        return False
    return True


def _agent_store(prefix: str) -> "Store":
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise UserError(
            "WORLD_SIZE is above 1 but torchrun did not start this process: start it with "
            "torchrun, or unset WORLD_SIZE and RANK"
        )
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return PrefixStore(prefix, TCPStore(address, port, is_master=False, timeout=_PATIENCE))

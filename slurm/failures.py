"""Why an item of a sweep failed: one small JSON file, written where the item ran."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from slurm.errors import SweepError, UserError, one_line, user_error
from slurm.files import read_regular, write_bytes

# What reading JSON can raise that another process writes, or that is garbage: text that is no UTF-8
# is none of msgspec's own errors, and a network filesystem has some of its own.
UNREADABLE = (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
SHOWN = 3  # mistakes of the user in one line


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One failed item."""

    key: str
    reason: str  # one line
    mendable: bool = False  # a mistake of the user (exit 2), not of the program
    blocked: bool = False  # did not run, because an item that it needs failed
    waiting: bool = False  # did not run, because a result that it needs was not there
    lost: bool = False  # one of several processes failed, perhaps since another one died
    late: bool = False  # of a SLURM task: it was about to run into its time limit
    start: int = 0  # of a SLURM task: how often it was started before
    log: str = ""  # the file with all that the item said


def failure_of(key: str, error: BaseException, log: Path | None = None) -> Failure:
    """What `error`, raised by the item named `key`, has to say."""
    mendable = user_error(error)
    if mendable:
        reason = str(mendable)
    else:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Failure(key, one_line(reason)[:2000], mendable is not None, log=str(log or ""))


def blocked_by(key: str, need: str) -> Failure:
    """The item `key` cannot run, because `need` failed."""
    return Failure(key, f"needs {need}, which failed", blocked=True)


def write_failure(path: Path, failure: Failure) -> None:
    """Atomically write `failure` as JSON."""
    write_bytes(path, msgspec.json.encode(failure) + b"\n")


def read_failure(path: Path) -> Failure | None:
    """The failure at `path`; None when there is no whole one."""
    try:
        return msgspec.json.decode(read_regular(path), type=Failure)
    except UNREADABLE:
        return None


def raise_failures(failures: Iterable[Failure]) -> None:
    """Raise what the failures amount to; nothing when there are none.

    Mistakes of the user, however many items met them, are one `UserError`; all else is a
    `SweepError` that names the items which failed by themselves before those they blocked.
    """
    everything = sorted(failures, key=lambda failure: failure.blocked)
    roots = [failure for failure in everything if not failure.blocked]
    if roots and all(root.mendable for root in roots):
        reasons = list(dict.fromkeys(root.reason for root in roots))
        more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
        raise UserError("; ".join([*reasons[:SHOWN], *more]))
    if everything:
        raise SweepError(
            {f.key: f.reason + (f" (log: {f.log})" if f.log else "") for f in everything}
        )

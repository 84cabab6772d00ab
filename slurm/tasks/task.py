"""What a SLURM task does: run one item of a run, say why it failed, and ask to be run again."""

import os
import re
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

import msgspec

from slurm.cli import STOPPED
from slurm.failures import Failure, failure_of, read_failure, write_failure
from slurm.progress import say
from slurm.runs import Place, Run
from slurm.stop import Stopped, polite_stop, received
from slurm.sweep import Item, MissingInput, progress_mark, run_item
from slurm.tasks.last_moment import before_the_limit
from slurm.tasks.requeueing import is_preempted, is_running, requeue, restarts, time_limit


def run_task(folder: str, label: str, task: int, stage: int, number: int) -> None:
    """Run item `number` of `stage` of the run in `folder`; a failure is noted, then raised.

    In a job of several processes rank 0 decides whether the item is run; the others follow it
    into `run`, where they meet.
    """
    run, first = Run(Path(folder)), os.environ.get("SLURM_PROCID", "0") == "0"
    failure_file = run.failure_file(label, task)
    _set_master_address()
    if first:
        _forget_earlier_start(failure_file)
    key = f"item {number + 1} of stage {stage + 1}"
    try:
        with polite_stop():
            item = run.load_item(Place(stage, number))
            key = item.key
            if first:
                _run_to_the_limit(item, failure_file)
            else:
                item.run()
    except Stopped as stopped:
        say(str(stopped))
        _stop(first, failure_file, key)
    except Exception as error:
        traceback.print_exc()
        if received():
            # SLURM signals every process of a task: data loaders die of it before we can save.
            _stop(first, failure_file, key)
        _note(failure_file, key, error)
        sys.exit(1)


def _run_to_the_limit(item: Item, failure_file: Path) -> None:
    """Run an item; one that does not stop before the time limit is queued again, or has failed.

    It is queued again if it saved some progress in this start: else all others would end the same.
    """
    before, late = progress_mark(item), threading.Event()

    def at_the_limit() -> None:
        if not item.resources.resumable:
            late.set()
            reason = f"ran into {time_limit()}; raise --time"
            write_failure(failure_file, Failure(item.key, reason, start=restarts(), late=True))
        elif progress_mark(item) != before:
            say(f"{item.key} does not stop in time: it will go on from what it saved last")
            requeue()
        else:
            say(f"{item.key} does not stop in time and has saved nothing: not queued again")

    with before_the_limit(at_the_limit):
        run_item(item)
    if late.is_set():  # it ended in its last seconds
        failure_file.unlink(missing_ok=True)


def _forget_earlier_start(path: Path) -> None:
    """Remove what an earlier start of this task noted; another process may have begun on this."""
    noted = read_failure(path)
    if noted is None or noted.start != restarts():
        path.unlink(missing_ok=True)


def _note(path: Path, key: str, error: Exception) -> None:
    """Write why this process failed, unless a process of this task said something better.

    The death of one process is an error in all others, often "connection closed by peer". So of
    several processes only a mistake of the user, whoever meets it, is the end of the item; with
    any other error it is started again.
    """
    failure = failure_of(key, error)
    waiting = isinstance(error, MissingInput)
    lost = _processes() > 1 and not (waiting or failure.mendable)
    failure = msgspec.structs.replace(failure, waiting=waiting, lost=lost, start=restarts())
    noted = read_failure(path)
    if (
        noted is None
        or noted.start != failure.start
        or (failure.waiting, failure.mendable) > (noted.waiting, noted.mendable)
    ):
        write_failure(path, failure)


def _processes() -> int:
    """How many processes run this task."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1)


def _stop(first: bool, failure_file: Path, key: str) -> NoReturn:
    """End a task that was asked to, and ask SLURM to start it again unless SLURM ends it anyway.

    srun kills the whole task at the first exit code that is not 0, and rank 0 may still be saving
    when the others have stopped. So only rank 0's exit code says how it ended.
    """
    if not first:
        sys.exit(0)
    noted = read_failure(failure_file)
    if noted is not None and noted.start == restarts():
        sys.exit(1)  # of another process of this task, for which srun ended this one
    # Before its time limit, or in the grace time of a preemption: to SLURM, a job that ends by
    # itself now has failed.
    if signal.SIGUSR2 in received() or is_preempted():
        requeue()
    elif _processes() > 1 and is_running():  # SLURM ends no job: srun ends what is left of it
        reason = "another of its processes ended without a word"
        write_failure(failure_file, Failure(key, reason, lost=True, start=restarts()))
        sys.exit(1)
    sys.exit(STOPPED)


def _set_master_address() -> None:
    """Where rank 0 listens, on clusters whose node names are not host names.

    The batch script, and so its srun, runs on the first node of a job.
    """
    nodes = os.environ.get("SLURM_STEP_NODELIST", "")
    address = os.environ.get("SLURM_LAUNCH_NODE_IPADDR")
    if os.environ.get("SLURM_STEP_NUM_NODES", "1") == "1" or not address:
        return
    found = re.match(r"([^\[,]+)(?:\[(\d+))?", nodes)
    host = "".join(part or "" for part in found.groups()) if found else ""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        os.environ.setdefault("MASTER_ADDR", address)

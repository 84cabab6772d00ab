"""`--cluster local --jobs N`: items in fresh processes of this machine, N at a time.

Written on subprocess rather than on submitit's local executor: that one starts every item at
once, knows no dependencies, gives every job the GPUs 0..n-1, stops a job after a default of two
minutes, and leaves its tasks alive when the launcher is killed. What is left to use of it is a
subprocess call. Here an item starts as soon as its needs are done and a slot is free, in a
session of its own, and neither it nor what it started outlives the launcher.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import NoReturn

from slurm.errors import one_line
from slurm.failures import Failure, blocked_by, raise_failures, read_failure
from slurm.files import check_writable
from slurm.progress import progress, say
from slurm.scheduler.environment import RANKS
from slurm.stop import Terminated
from slurm.stored.pickles import dump_item
from slurm.sweep import Item, items_to_run
from slurm.tasks.worker import packed
from slurm.threads import share_of, thread_variables

WORKER = "slurm.tasks.worker"
STARTS = 3  # of an item whose process dies without a word: killed, out of memory, crashed


def run_local(goals: Sequence[Item], jobs: int, threads: int | None, logs: Path) -> None:
    """Run what `goals` miss, at most `jobs` items at once; each item's output is a file of `logs`.

    Raises `UserError` or `SweepError` after everything that could run has run.
    """
    items = items_to_run(goals)
    if not items:
        return
    folder = logs / f"local-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    check_writable(folder)
    sweep = _Sweep(items, jobs, threads or share_of(jobs, os.environ), folder)
    with _stop_on_signals():
        try:
            sweep.run()
        finally:
            sweep.kill()
    raise_failures(sweep.failures.values())


@dataclass
class _Attempt:
    """One process that runs an item."""

    item: Item
    process: subprocess.Popen[bytes]
    pipe: int  # closes with the launcher, which ends the process
    log: Path
    gpus: list[str]
    began: float = field(default_factory=time.monotonic)


class _Sweep:
    def __init__(self, items: list[Item], jobs: int, threads: int, folder: Path) -> None:
        self.waiting = {item.key: item for item in items}  # in an order that respects needs
        self.total, self.jobs, self.threads, self.folder = len(items), jobs, threads, folder
        self.unfinished = set(self.waiting)
        self.running: list[_Attempt] = []
        self.starts: dict[str, int] = {}
        self.failures: dict[str, Failure] = {}
        self.finished = 0
        self.gpus = visible_gpus()  # those that no item holds
        self.gpu_count = len(self.gpus)

    def run(self) -> None:
        """Start and collect processes until nothing is left that can run."""
        with progress(desc="items", total=self.total, disable=not sys.stderr.isatty()) as bar:
            self._start_ready()
            while self.running:
                time.sleep(0.03)
                ended = [attempt for attempt in self.running if _has_ended(attempt.process)]
                for attempt in ended:
                    self._collect(attempt)
                if ended:
                    self._drop_blocked()
                    self._start_ready()
                    bar.n = self.finished + len(self.failures)
                bar.refresh()

    def kill(self) -> None:
        """End every process that still runs, with all that it started."""
        for attempt in self.running:
            _kill_group(attempt.process)
            attempt.process.wait()
            os.close(attempt.pipe)
        self.running.clear()

    def _drop_blocked(self) -> None:
        for key, item in list(self.waiting.items()):
            blocking = next((need.key for need in item.needs if need.key in self.failures), None)
            if blocking is not None:
                del self.waiting[key]
                self._fail(blocked_by(key, blocking))

    def _start_ready(self) -> None:
        for key, item in list(self.waiting.items()):
            if len(self.running) >= self.jobs:
                return
            wanted = min(item.resources.gpus, self.gpu_count)
            unmet = any(need.key in self.unfinished for need in item.needs)
            if not unmet and wanted <= len(self.gpus):
                del self.waiting[key]
                taken, self.gpus = self.gpus[:wanted], self.gpus[wanted:]
                self.running.append(self._start(item, taken))

    def _start(self, item: Item, gpus: list[str]) -> _Attempt:
        log = self.folder / f"{file_stem(item.key)}.log"
        environment = {k: v for k, v in os.environ.items() if k not in RANKS}
        environment |= thread_variables(self.threads) | {"PYTHONUNBUFFERED": "1"}
        if self.gpu_count:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        reader, writer = os.pipe()
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", WORKER, str(reader), log.with_suffix(".json")],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    pass_fds=(reader,),
                    start_new_session=True,
                )
        finally:
            os.close(reader)
        self.starts[item.key] = self.starts.get(item.key, 0) + 1
        with suppress(BrokenPipeError):  # it died at once; its exit code says more
            _write(writer, packed(dump_item(item)))
        return _Attempt(item, process, writer, log, gpus)

    def _collect(self, attempt: _Attempt) -> None:
        """Read the result file first, then the failure file, and the exit code last."""
        _kill_group(attempt.process)  # what it started and left behind
        code = attempt.process.wait()
        os.close(attempt.pipe)
        self.running.remove(attempt)
        self.gpus += attempt.gpus
        item, log = attempt.item, attempt.log
        failure = read_failure(log.with_suffix(".json"))
        if item.done():
            self.finished += 1
            self.unfinished.discard(item.key)
            seconds = time.monotonic() - attempt.began
            count = f"{self.finished + len(self.failures)}/{self.total}"
            say(f"[{count}] {item.key} done in {seconds:.1f} s")
        elif failure is not None:
            self._fail(Failure(item.key, failure.reason, failure.mendable, log=str(log)))
        elif self.starts[item.key] < STARTS:
            say(f"{item.key} {_ending(code)}; starting it again (log: {log})")
            self.waiting = {item.key: item} | self.waiting
        else:
            reason = f"{_ending(code)}, {STARTS} times; last line: {_last_line(log)}"
            self._fail(Failure(item.key, reason, log=str(log)))

    def _fail(self, failure: Failure) -> None:
        self.failures[failure.key] = failure
        count = f"{self.finished + len(self.failures)}/{self.total}"
        where = f" (log: {failure.log})" if failure.log else ""
        say(f"[{count}] {failure.key} failed: {failure.reason}{where}")


def file_stem(key: str) -> str:
    """A file name for the item named `key`: readable, and another one for every key."""
    readable = re.sub(r"[^A-Za-z0-9._+-]+", "-", key)[:100].strip("-.")
    return f"{readable}-{sha256(key.encode()).hexdigest()[:8]}"


def visible_gpus() -> list[str]:
    """The CUDA devices that this process may use, found without importing torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    devices = Path("/dev").glob("nvidia[0-9]*")
    return [str(number) for number in range(len(list(devices)))]


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, without reaping it: until then its group's number stays its own."""
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, options) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _write(pipe: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(pipe, view) :]


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and left no result"
    hint = ", perhaps out of memory" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-4000:].decode(errors="replace").split("\n")
    return next((one_line(line)[:300] for line in reversed(lines) if line.strip()), "none")


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP end this process the way SIGINT does: by an exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated(number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Submit what a run misses: arrays of a stage's items, as large and as soon as SLURM takes them."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence

import msgspec

from slurm.failures import blocked_by
from slurm.launch.submission import Refused, submit_array
from slurm.launch.watch import Watch, order
from slurm.progress import say
from slurm.runs import ArrayRecord, Place
from slurm.scheduler.commands import SchedulerDown

MAX_TASKS = 10_000  # of one array, also where the cluster takes more
# sbatch --test-only took the request, so an error that we do not know may pass.
REFUSALS = 3  # of that kind, one after the other, that are the end of a stage
REFUSAL_PAUSE = 20.0  # seconds at least, after one of them


class Submitter:
    """Submits the open items of `watch` that no task stands for, with back-off."""

    def __init__(self, watch: Watch, has_run: Callable[[], bool] = lambda: True) -> None:
        self.watch = watch
        self.has_run = has_run  # asked before each array, as a large one takes a while
        self.most = 0  # tasks of an array; 0: the cluster was not asked yet
        self.size = 0  # the same, as far as SLURM has room now
        self.refusals = 0  # of a kind that we do not know, since it took an array
        self.busy_since: float | None = None  # SLURM has had no room since then
        self.unwritten: list[ArrayRecord] = []  # that SLURM took
        self._pause, self._until = 2.0, 0.0

    def submit(self) -> None:
        """Submit all that can be; the rest waits for a later call.

        An item can be submitted when all that it needs is done or has a task to wait for. Raises
        `OSError` when files cannot be written; a later call does the rest.
        """
        self._write_records()
        if time.monotonic() < self._until or not self._know_size():
            return
        watch = self.watch
        watch.scheduler.cancel(watch.orphans())
        fresh: set[str] = set()  # jobs that SLURM took since it was last asked
        for stage in range(len(watch.run.manifest.stages)):
            ready: list[Place] = []
            after: set[str] = set()
            for place in sorted(watch.open, key=order):
                if place.stage == stage and place not in watch.attempts:
                    jobs = self._jobs_before(place, fresh)
                    if jobs is not None:
                        ready.append(place)
                        after |= jobs
            while ready:
                if watch.run.cancelled or not self.has_run():
                    return  # whoever follows the run cancels what there is by now, or submits it
                chunk = ready[: self.size]
                refused = self._submit(stage, chunk, sorted(after), fresh)
                if refused is None:
                    ready = ready[len(chunk) :]
                elif self._is_final(refused):
                    for place in ready:
                        reason = f"SLURM refuses stage {self._name(stage)}: {refused}"
                        watch.fail(place, reason, True)
                    break
                else:
                    self._wait(refused, len(chunk))
                    return

    def complete(self, *, listed: bool = False) -> bool:
        """Whether every open item has a task, and with `listed` one that SLURM lists."""
        attempts = [self.watch.attempts.get(place) for place in self.watch.open]
        return all(one and (not listed or one.task in self.watch.live) for one in attempts)

    def _jobs_before(self, place: Place, fresh: set[str]) -> set[str] | None:
        """The jobs that must end first; None when the item cannot be submitted yet, or ever."""
        watch, jobs = self.watch, set()
        for need in watch.items[place].needs:
            before = watch.places.get(need.key)
            if need.key in watch.failures:
                watch.block(blocked_by(watch.items[place].key, need.key))
                return None
            if before is None or before not in watch.open:
                continue
            attempt = watch.attempts.get(before)
            if attempt is None or not attempt.array.job:
                return None
            if attempt.task not in watch.live and attempt.array.job not in fresh:
                return None
            jobs.add(attempt.array.job)
        return jobs

    def _submit(
        self, stage: int, places: Sequence[Place], after: Sequence[str], fresh: set[str]
    ) -> Refused | None:
        """Submit one array; None when SLURM took it."""
        watch, run = self.watch, self.watch.run
        label = f"{stage}-{len(watch.arrays)}-{secrets.token_hex(3)}"
        numbers = [place.number for place in places]
        array = ArrayRecord(
            label,
            f"{run.name}.{label}",
            stage,
            numbers,
            submitted=time.time(),
            host=socket.gethostname(),
            pid=os.getpid(),
            request=watch.requests[stage],
        )
        run.write_array(array)  # so that no other launcher takes its jobs for orphans
        try:
            job = submit_array(
                run.folder.absolute(),
                label,
                array.job_name,
                watch.requests[stage],
                [(place.stage, place.number) for place in places],
                after,
                run.manifest.threads,
            )
        except Refused as refused:
            if not refused.lost:
                run.drop_array(label)
            watch.cut[label] = array  # should the queue show it yet, it is cancelled
            return refused
        except OSError:
            watch.cut[label] = array  # SLURM may have it, but not all that its tasks read is there
            raise
        self.busy_since, self._pause, self.refusals = None, 2.0, 0
        self.size = min(self.most, self.size * 2)
        array = msgspec.structs.replace(array, job=job)
        self.unwritten.append(array)
        watch.note(array)
        fresh.add(job)
        for place in places:
            watch.starts[place] = watch.starts.get(place, 0) + 1
        say(f"{self._name(stage)}: {len(places)} tasks submitted as job {job}")
        self._write_records()
        return None

    def _write_records(self) -> None:
        """Write the numbers of the jobs; else whoever resumes the run would cancel them."""
        while self.unwritten:
            self.watch.run.write_array(self.unwritten[0])
            self.unwritten.pop(0)

    def _is_final(self, refused: Refused) -> bool:
        """Whether there is no point in trying again."""
        self.refusals = 0 if refused.busy else self.refusals + 1
        final = self.refusals >= REFUSALS
        self.refusals = 0 if final else self.refusals
        return final

    def _wait(self, refused: Refused, tasks: int) -> None:
        now = time.monotonic()
        if not refused.unreachable:
            self.size = max(1, tasks // 2)
        if not refused.busy:
            self._pause = max(self._pause, REFUSAL_PAUSE)
        # Other jobs of the same user, which nobody knows here, may take days to end.
        self.busy_since = None if refused.full else self.busy_since or now
        say(f"SLURM takes nothing now ({refused}); trying again in {self._pause:.0f} s")
        self._until, self._pause = now + self._pause, min(300.0, self._pause * 2)

    def _know_size(self) -> bool:
        if not self.most:
            try:
                self.most = min(MAX_TASKS, self.watch.scheduler.max_array_size())
                self.size = self.most
            except SchedulerDown:
                self.busy_since = self.busy_since or time.monotonic()
                return False
        return True

    def _name(self, stage: int) -> str:
        return self.watch.run.manifest.stages[stage].name

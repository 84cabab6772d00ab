"""Submit what a run misses: arrays of a stage's items, as large and as soon as SLURM takes them."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence

import msgspec

from slurm.failures import blocked_by
from slurm.progress import say
from slurm.runs import ArrayRecord, Place
from slurm.scheduler import SchedulerDown
from slurm.submission import Refused, submit_array
from slurm.watch import Watch, order

MAX_TASKS = 10_000  # of one array, also where the cluster takes more


class Submitter:
    """Submits the open items of `watch` that no task stands for, with back-off."""

    def __init__(self, watch: Watch, alive: Callable[[], None] = lambda: None) -> None:
        self.watch = watch
        self.alive = alive  # called before each array: a large one takes a while
        self.size = 0  # most tasks of an array; 0: the cluster was not asked yet
        self.busy_since: float | None = None  # SLURM has had no room since then
        self._pause, self._until = 2.0, 0.0

    def submit(self) -> None:
        """Submit all that can be; the rest waits for a later call.

        An item can be submitted when all that it needs is done or has a task to wait for.
        """
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
                chunk, ready = ready[: self.size], ready[self.size :]
                if not self._submit(stage, chunk, sorted(after), fresh):
                    return

    def complete(self) -> bool:
        """Whether every open item has a task."""
        return all(place in self.watch.attempts for place in self.watch.open)

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
    ) -> bool:
        """Submit one array; False when SLURM has no room for it now."""
        watch, run = self.watch, self.watch.run
        self.alive()
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
            run.drop_array(label)
            if not refused.busy:
                for place in places:
                    watch.fail(place, f"SLURM refuses stage {self._name(stage)}: {refused}", True)
                return True
            self._wait(refused, len(places))
            return False
        self.busy_since, self._pause = None, 2.0
        array = msgspec.structs.replace(array, job=job)
        run.write_array(array)
        watch.note(array)
        fresh.add(job)
        for place in places:
            watch.starts[place] = watch.starts.get(place, 0) + 1
        say(f"{self._name(stage)}: {len(places)} tasks submitted as job {job}")
        return True

    def _wait(self, refused: Refused, tasks: int) -> None:
        now = time.monotonic()
        if refused.too_many:
            self.size = max(1, tasks // 2)
        self.busy_since = self.busy_since or now
        say(f"SLURM has no room now ({refused}); trying again in {self._pause:.0f} s")
        self._until, self._pause = now + self._pause, min(300.0, self._pause * 2)

    def _know_size(self) -> bool:
        if not self.size:
            try:
                self.size = min(MAX_TASKS, self.watch.scheduler.max_array_size())
            except SchedulerDown:
                return False
        return True

    def _name(self, stage: int) -> str:
        return self.watch.run.manifest.stages[stage].name

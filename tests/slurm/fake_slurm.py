"""A scheduler of our own that loses jobs in every way, and a run that is submitted to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from slurm.failures import failure_of, write_failure
from slurm.launch.submission import Refused
from slurm.launch.submitter import Submitter
from slurm.launch.watch import Watch
from slurm.runs import Place, Run, create_run
from slurm.scheduler.commands import Partition, Scheduler, SchedulerDown, TaskId, TaskState
from slurm.scheduler.settings import ClusterSettings, Request, request_for
from slurm.sweep import Item, MissingInput, missing_stages, run_item
from tests.slurm.items import Number


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeSlurm(Scheduler):
    """A scheduler whose tasks run when a test says so."""

    array_size: int = 1000
    tasks: dict[TaskId, TaskState] = field(default_factory=dict)  # waiting and running
    past: dict[TaskId, TaskState] = field(default_factory=dict)  # what the accounting says
    work: dict[TaskId, tuple[Run, Place, str, int]] = field(default_factory=dict)
    after: dict[TaskId, list[str]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)  # of the arrays that it took
    refusals: list[str] = field(default_factory=list)
    down: bool = False
    accounting_down: bool = False
    jobs: int = 0

    def check_installed(self) -> None:
        pass

    def partitions(self) -> dict[str, Partition]:
        return {"main": Partition("main", 0, None)}

    def default_partition(self) -> str | None:
        return "main"

    def refusal(self, options: list[str]) -> str | None:
        return None

    def live(self, run: str) -> dict[TaskId, TaskState]:
        if self.down:
            raise SchedulerDown("nobody there")
        return {task: state for task, state in self.tasks.items() if task.job_name.startswith(run)}

    def ended(self, jobs: dict[str, str]) -> dict[TaskId, TaskState]:
        if self.accounting_down:
            raise SchedulerDown("no database")
        names = set(jobs.values())
        return {task: state for task, state in self.past.items() if task.job_name in names}

    def max_array_size(self) -> int:
        return self.array_size

    def cancel(self, jobs: list[str]) -> str:
        for task, state in list(self.tasks.items()):
            if state.job in jobs or state.job.partition("_")[0] in jobs:
                self.end(task, "CANCELLED")
        return ""

    def submit_array(
        self,
        run: Path,
        label: str,
        job_name: str,
        request: Request,
        places: Sequence[tuple[int, int]],
        after: Sequence[str],
        threads: int | None,
    ) -> str:
        if self.refusals:
            raise Refused(self.refusals.pop(0))
        self.jobs += 1
        self.sizes.append(len(places))
        self.requests.append(request)
        for index, place in enumerate(places):
            task = TaskId(job_name, index)
            self.tasks[task] = TaskState("PENDING", "", f"{self.jobs}_{index}")
            self.work[task] = (Run(run), Place(*place), label, index)
            self.after[task] = list(after)
        return str(self.jobs)

    def ready(self) -> list[TaskId]:
        """The tasks that may start: the jobs before them are over."""
        busy = {state.job.partition("_")[0] for state in self.tasks.values()}
        return [task for task in self.tasks if not busy.intersection(self.after[task])]

    def run(self, task: TaskId) -> None:
        """What `slurm.tasks.task` does."""
        run, place, label, index = self.work[task]
        item = run.load_item(place)
        try:
            run_item(item)
            self.end(task, "COMPLETED")
        except Exception as error:
            failure = failure_of(item.key, error)
            waiting = isinstance(error, MissingInput)
            failure = msgspec.structs.replace(failure, waiting=waiting)
            write_failure(run.failure_file(label, index), failure)
            self.end(task, "FAILED")

    def end(self, task: TaskId, state: str) -> None:
        del self.tasks[task]
        self.past[task] = TaskState(state)

    def vanish(self, task: TaskId) -> None:
        del self.tasks[task]


@dataclass
class Lab:
    """A run, a scheduler that it is submitted to, and a clock."""

    slurm: FakeSlurm
    clock: Clock
    runs: Path
    watch: Watch = field(init=False)
    submitter: Submitter = field(init=False)
    said: list[str] = field(default_factory=list)

    def start(self, goals: list[Item], name: str = "") -> None:
        """A fresh run for `goals`, of which `name` is the fingerprint."""
        stages = missing_stages(goals)
        requests = [request_for(ClusterSettings(), s.name, s.resources, 0) for s in stages]
        self.resume(create_run(self.runs, stages, requests, goals=name, threads=None))

    def resume(self, run: Run) -> None:
        self.watch = Watch(run, self.slurm, run.manifest.requests, tell=self.said.append)
        self.submitter = Submitter(self.watch)

    def step(self, seconds: float = 1.0) -> None:
        self.clock.now += seconds
        if self.watch.look():
            self.watch.judge_absent(resubmit=True)
            self.submitter.submit()

    def run_all(self) -> None:
        """Let everything run, without mishaps."""
        for _ in range(50):
            self.step()
            if not self.watch.open:
                return
            for task in self.slurm.ready():
                self.slurm.run(task)
        raise AssertionError(f"no end: {self.watch.open}")


def chain(folder: Path, width: int = 3) -> list[Item]:
    features = [Number(folder, f"features{i}", stage="extract") for i in range(width)]
    fits = [Number(folder, f"fit{i}", (features[i],), stage="fit") for i in range(width)]
    return [Number(folder, "table", tuple(fits), stage="table")]

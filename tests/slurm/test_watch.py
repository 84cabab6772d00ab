"""The launcher's decisions, against a scheduler of our own that loses jobs in every way."""

import errno
import itertools
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from slurm.errors import SweepError, UserError
from slurm.failures import Failure, failure_of, write_failure
from slurm.files import write_text
from slurm.launcher import look_after
from slurm.runs import ArrayRecord, Place, Run, create_run
from slurm.scheduler import Scheduler, SchedulerDown, TaskId, TaskState
from slurm.settings import ClusterSettings, Request, request_for
from slurm.submission import Refused
from slurm.submitter import REFUSALS, Submitter
from slurm.sweep import Item, MissingInput, missing_stages, run_item
from slurm.view import View
from slurm.watch import MOST_STARTS, STARTS, SUBMISSION_SECONDS, Watch
from tests.slurm.items import Broken, Number, Steps


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@dataclass
class FakeSlurm(Scheduler):
    """A scheduler whose tasks run when a test says so."""

    array_size: int = 1000
    tasks: dict[TaskId, TaskState] = field(default_factory=dict)  # waiting and running
    past: dict[TaskId, TaskState] = field(default_factory=dict)  # what the accounting says
    work: dict[TaskId, tuple[Run, Place, str, int]] = field(default_factory=dict)
    after: dict[TaskId, list[str]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    down: bool = False
    accounting_down: bool = False
    jobs: int = 0

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
        """What `slurm.task` does."""
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

    def start(self, goals: list[Item]) -> None:
        stages = missing_stages(goals)
        requests = [request_for(ClusterSettings(), s.name, s.resources, 0) for s in stages]
        self.resume(create_run(self.runs, stages, requests, goals="", threads=None))

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


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    slurm, clock = FakeSlurm(), Clock()
    monkeypatch.setattr("slurm.submitter.submit_array", slurm.submit_array)
    for module in ("watch", "submitter"):
        monkeypatch.setattr(f"slurm.{module}.time", clock)
    monkeypatch.setattr("slurm.submitter.say", lambda line: None)
    return Lab(slurm, clock, tmp_path / "runs")


def chain(folder: Path, width: int = 3) -> list[Item]:
    features = [Number(folder, f"features{i}", stage="extract") for i in range(width)]
    fits = [Number(folder, f"fit{i}", (features[i],), stage="fit") for i in range(width)]
    return [Number(folder, "table", tuple(fits), stage="table")]


def test_every_stage_is_submitted_at_once_and_waits_for_the_one_before(
    lab: Lab, tmp_path: Path
) -> None:
    lab.start(chain(tmp_path / "a"))
    lab.step()
    assert lab.slurm.sizes == [3, 3, 1]
    assert lab.submitter.complete()
    waits = [lab.slurm.after[task] for task in lab.slurm.tasks]
    assert waits == [[], [], [], ["1"], ["1"], ["1"], ["2"]]
    lab.run_all()
    assert lab.slurm.sizes == [3, 3, 1]
    assert (tmp_path / "a" / "table.txt").exists()


def test_arrays_are_split(lab: Lab, tmp_path: Path) -> None:
    lab.slurm.array_size = 4
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(10)])
    lab.run_all()
    assert lab.slurm.sizes == [4, 4, 2]


def test_only_what_was_lost_is_submitted_again(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(5)])
    lab.step()
    victim = list(lab.slurm.tasks)[3]
    lab.slurm.end(victim, "NODE_FAIL")
    lab.step()
    assert lab.slurm.sizes == [5]  # a requeued copy would be listed again soon
    lab.step(10)
    assert lab.slurm.sizes == [5, 1]
    lab.run_all()


def test_an_item_that_is_always_lost_is_given_up(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    for _ in range(STARTS):
        lab.step()
        (task,) = lab.slurm.tasks
        lab.slurm.vanish(task)
        lab.step()
        lab.step(40)
    assert not lab.watch.open
    assert "no longer known to SLURM" in lab.watch.failures["a/n"].reason
    assert len(lab.slurm.sizes) == STARTS


def lose_again_and_again(lab: Lab, state: str, times: int, before: Callable[[], None]) -> None:
    """The latest task ends in `state`, `times` times, each time after `before`."""
    for _ in range(times):
        lab.step(10)
        (task,) = lab.slurm.tasks
        before()
        lab.slurm.end(task, state)
        lab.step()
        lab.step(10)


def test_interruptions_do_not_end_an_item_that_makes_progress(lab: Lab, tmp_path: Path) -> None:
    item = Steps(tmp_path / "a", "steps", count=2, pause=0)
    item.state.parent.mkdir()
    lab.start([item])
    saved = itertools.count()
    lose_again_and_again(
        lab, "NODE_FAIL", 3 * STARTS, lambda: write_text(item.state, f"0 {next(saved)}")
    )
    assert not lab.watch.failures
    lose_again_and_again(lab, "NODE_FAIL", STARTS - 1, lambda: None)
    assert not lab.watch.failures
    lose_again_and_again(lab, "NODE_FAIL", 1, lambda: None)
    assert f"({4 * STARTS} submissions)" in lab.watch.failures["a/steps"].reason


def test_preemptions_do_not_end_an_item_but_there_is_a_bound(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lose_again_and_again(lab, "PREEMPTED", MOST_STARTS - 1, lambda: None)
    assert not lab.watch.failures
    lose_again_and_again(lab, "PREEMPTED", 1, lambda: None)
    assert "was preempted" in lab.watch.failures["a/n"].reason


def test_a_result_without_a_job_is_done(lab: Lab, tmp_path: Path) -> None:
    """A copy of a task that SLURM gave up may still have finished."""
    item = Number(tmp_path / "a", "n")
    lab.start([item])
    lab.step()
    (task,) = lab.slurm.tasks
    lab.slurm.end(task, "NODE_FAIL")
    item.run()
    lab.step()
    assert not lab.watch.open
    assert not lab.watch.failures


def test_a_failure_blocks_what_needs_it_and_nothing_else(lab: Lab, tmp_path: Path) -> None:
    broken = Broken(tmp_path / "a", "broken", stage="extract")
    middle = Number(tmp_path / "a", "middle", (broken,), stage="fit")
    last = Number(tmp_path / "a", "last", (middle,), stage="table")
    lab.start([last, *chain(tmp_path / "a")])
    lab.run_all()
    assert (tmp_path / "a" / "table.txt").exists()
    reasons = {key: failure.reason for key, failure in lab.watch.failures.items()}
    assert reasons["a/broken"].startswith("ValueError")
    assert reasons["a/middle"] == "needs a/broken, which failed"
    assert reasons["a/last"] == "needs a/middle, which failed"


def test_tasks_that_came_too_early_wait_for_the_second_try_of_what_they_need(
    lab: Lab, tmp_path: Path
) -> None:
    lab.start(chain(tmp_path / "a", width=1))
    lab.step()
    features, fit, table = lab.slurm.tasks
    lab.slurm.end(features, "NODE_FAIL")
    lab.slurm.run(fit)
    lab.slurm.run(table)
    for _ in range(4):
        lab.step(10)
    assert lab.slurm.sizes == [1, 1, 1, 1, 1, 1]
    lab.run_all()
    assert not lab.watch.failures
    assert (tmp_path / "a" / "table.txt").exists()


def test_a_result_that_is_damaged_while_the_run_goes_on_is_computed_again(
    lab: Lab, tmp_path: Path
) -> None:
    lab.start(chain(tmp_path / "a", width=1))
    lab.step()
    for _ in range(2):
        lab.slurm.run(next(iter(lab.slurm.tasks)))
        lab.step()
    (tmp_path / "a" / "features0.txt").write_text("")
    (tmp_path / "a" / "fit0.txt").write_text("")
    lab.run_all()
    assert not lab.watch.failures
    assert (tmp_path / "a" / "table.txt").exists()


def test_a_silent_scheduler_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.start(chain(tmp_path / "a"))
    lab.step()
    lab.slurm.down = True
    for task in list(lab.slurm.tasks)[:3]:
        lab.slurm.run(task)
    for _ in range(5):
        lab.step(1000)
    assert lab.slurm.sizes == [3, 3, 1]
    assert len(lab.watch.open) == 4  # the results were seen all the same
    lab.slurm.down = False
    lab.run_all()
    assert lab.slurm.sizes == [3, 3, 1]


def test_an_accounting_that_is_away_for_a_while_decides_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    (task,) = lab.slurm.tasks
    lab.slurm.end(task, "OUT_OF_MEMORY")
    lab.slurm.accounting_down = True
    for _ in range(4):
        lab.step(60)
    assert lab.slurm.sizes == [1]
    lab.slurm.accounting_down = False
    lab.step()
    assert "ran out of memory" in lab.watch.failures["a/n"].reason


def test_an_accounting_that_stays_away_is_not_waited_for(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    lab.slurm.end(next(iter(lab.slurm.tasks)), "FAILED")
    lab.slurm.accounting_down = True
    for _ in range(7):
        lab.step(60)
    assert lab.slurm.sizes == [1, 1]
    lab.run_all()


def test_a_full_queue_is_tried_again_with_smaller_arrays(lab: Lab, tmp_path: Path) -> None:
    lab.slurm.refusals = ["sbatch: error: QOSMaxSubmitJobPerUserLimit"] * 2
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(8)])
    lab.step()
    lab.step(1)
    assert len(lab.slurm.refusals) == 1  # not before the pause is over
    lab.step(10)
    lab.step(10)
    assert lab.slurm.sizes == [2, 4, 2]  # larger ones as soon as there is room
    lab.run_all()


@pytest.mark.parametrize(
    "message",
    [
        "Batch job submission failed: Invalid job array specification",
        "Batch job submission failed: Resource temporarily unavailable",
    ],
)
def test_an_array_that_is_too_large_is_halved_until_it_fits(
    lab: Lab, tmp_path: Path, message: str
) -> None:
    lab.slurm.refusals = [message] * 4
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(32)])
    lab.step()
    for _ in range(4):
        lab.step(30)
    assert lab.slurm.sizes[0] == 2
    lab.run_all()
    assert not lab.watch.failures


def test_an_unreachable_cluster_is_no_reason_for_small_arrays(lab: Lab, tmp_path: Path) -> None:
    lab.slurm.refusals = ["Unable to contact slurm controller (connect failure)"] * 3
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(8)])
    for _ in range(4):
        lab.step(30)
    assert lab.slurm.sizes == [8]


def test_an_error_that_is_not_known_may_pass(lab: Lab, tmp_path: Path) -> None:
    lab.slurm.refusals = ["Batch job submission failed: Unspecified error"] * (REFUSALS - 1)
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(8)])
    for _ in range(REFUSALS):
        lab.step(100)
    lab.run_all()
    assert not lab.watch.failures


def test_a_refusal_for_good_is_the_users_to_mend(lab: Lab, tmp_path: Path) -> None:
    lab.slurm.refusals = ["sbatch: error: Invalid account"] * REFUSALS
    lab.start(chain(tmp_path / "a", width=1))
    for _ in range(REFUSALS):
        lab.step(100)
    failures = lab.watch.failures
    assert failures["a/features0"].mendable
    assert "Invalid account" in failures["a/features0"].reason
    assert failures["a/table"].blocked


def test_jobs_without_a_record_are_cancelled_when_it_does_not_come(
    lab: Lab, tmp_path: Path
) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    orphan = TaskId(f"{lab.watch.run.name}.0-0-dead", 0)
    lab.slurm.tasks[orphan] = TaskState("PENDING", "", "99_0")
    lab.slurm.after[orphan] = []
    lab.step()
    lab.step(SUBMISSION_SECONDS - 1)
    assert orphan in lab.slurm.tasks
    lab.step(2)
    assert lab.slurm.past[orphan].state == "CANCELLED"
    lab.run_all()


def test_a_second_launcher_leaves_a_submission_under_way_alone(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long sbatch takes: whoever is late sees jobs, but not yet their number."""
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(3)])
    second = Lab(lab.slurm, lab.clock, lab.runs)
    second.resume(Run(lab.watch.run.folder))

    def slow(*arguments: Any) -> str:
        job = lab.slurm.submit_array(*arguments)
        for _ in range(3):
            second.step(200)
        return job

    monkeypatch.setattr("slurm.submitter.submit_array", slow)
    lab.step()
    assert lab.slurm.sizes == [3]
    assert not lab.slurm.past
    second.run_all()
    assert lab.slurm.sizes == [3]


def dead_submission(run: Run) -> ArrayRecord:
    """The record that a process left which died while it submitted the first item."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    label = "0-0-dead"
    array = ArrayRecord(
        label, f"{run.name}.{label}", 0, [0], 1.0, host=socket.gethostname(), pid=ended.pid
    )
    run.write_array(array)
    return array


@pytest.mark.parametrize("taken", [False, True])
def test_the_submission_of_a_dead_launcher_is_made_again(
    lab: Lab, tmp_path: Path, taken: bool
) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    task = dead_submission(lab.watch.run).task(0)
    if taken:
        lab.slurm.tasks[task] = TaskState("PENDING", "", "99_0")
        lab.slurm.after[task] = []
    lab.step()
    assert (task in lab.slurm.past) is taken
    assert lab.slurm.sizes == [1]
    lab.run_all()


def test_a_refused_array_leaves_no_record(lab: Lab, tmp_path: Path) -> None:
    lab.slurm.refusals = ["Unable to contact slurm controller"]
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    assert lab.watch.run.arrays() == []


def test_an_older_submission_that_is_seen_late_is_not_the_latest(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    latest = lab.watch.attempts[Place(0, 0)]
    run = lab.watch.run
    run.write_array(ArrayRecord("0-0-late", f"{run.name}.0-0-late", 0, [0], 1.0, "99"))
    lab.slurm.past[TaskId(f"{run.name}.0-0-late", 0)] = TaskState("CANCELLED")
    for _ in range(3):
        lab.step(60)
    assert lab.watch.attempts[Place(0, 0)] == latest
    assert not lab.watch.failures


def test_a_run_that_is_cancelled_while_it_is_submitted(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled before the first array is in the queue, so that nobody else could cancel that."""
    lab.slurm.array_size = 2
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(10)])

    def cancelled_meanwhile(*arguments: Any) -> str:
        lab.watch.run.set_cancelled(True)
        return lab.slurm.submit_array(*arguments)

    monkeypatch.setattr("slurm.submitter.submit_array", cancelled_meanwhile)
    monkeypatch.setattr("slurm.scheduler.CANCEL_PAUSE", 0.0)
    lab.clock.now = time.monotonic()
    with pytest.raises(SweepError, match="was cancelled"):
        look_after(lab.watch.run, lab.slurm, lab.watch.run.manifest.requests)
    assert lab.slurm.sizes == [2]
    assert not lab.slurm.tasks


def test_a_silent_scancel_is_no_end_of_the_launcher(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(command: list[str]) -> None:
        raise SchedulerDown("no answer")

    monkeypatch.setattr("slurm.scheduler._run", away)
    monkeypatch.setattr(FakeSlurm, "cancel", Scheduler.cancel)
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    (task,) = lab.slurm.tasks
    lab.slurm.tasks[task] = TaskState("PENDING", "launch failed requeued held", "1_0")
    lab.step()
    lab.step()
    assert lab.slurm.tasks


def test_a_refusal_for_good_ends_the_whole_stage_at_once(lab: Lab, tmp_path: Path) -> None:
    lab.slurm.refusals = ["sbatch: error: Invalid account"] * REFUSALS
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(8)])
    for _ in range(REFUSALS):
        lab.step(100)
    assert len(lab.watch.failures) == 8  # not only the array, a smaller one each time
    assert not lab.watch.open


def test_stuck_tasks_are_cancelled_and_submitted_again(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    (task,) = lab.slurm.tasks
    lab.slurm.tasks[task] = TaskState("PENDING", "launch failed requeued held", "1_0")
    lab.step()
    assert lab.slurm.past[task].state == "CANCELLED"
    assert lab.slurm.sizes == [1, 1]
    lab.run_all()
    assert not lab.watch.failures


def test_another_process_takes_up_where_the_first_was(lab: Lab, tmp_path: Path) -> None:
    lab.start(chain(tmp_path / "a"))
    lab.step()
    for task in list(lab.slurm.tasks)[:2]:
        lab.slurm.run(task)
    lab.resume(Run(lab.watch.run.folder))
    lab.run_all()
    assert lab.slurm.sizes == [3, 3, 1]


def test_a_new_launcher_gives_failed_items_another_start(lab: Lab, tmp_path: Path) -> None:
    lab.start([Broken(tmp_path / "a", "broken"), Number(tmp_path / "a", "other")])
    lab.run_all()
    assert list(lab.watch.failures) == ["a/broken"]
    lab.resume(Run(lab.watch.run.folder))
    lab.watch.look()
    lab.watch.forget_ended()
    lab.step()
    assert lab.slurm.sizes == [2, 1]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_whatever_happens(lab: Lab, tmp_path: Path, seed: int) -> None:
    """Tasks die, vanish, run twice or out of order; the launcher is replaced; SLURM is away."""
    chance = random.Random(seed)
    goals = [*chain(tmp_path / "a", width=4), *chain(tmp_path / "b", width=2)]
    lab.start(goals)
    slurm = lab.slurm
    mishaps = 12
    for _ in range(600):
        lab.step(chance.choice([1, 5, 40]))
        if not lab.watch.open:
            break
        for task in chance.sample(sorted(slurm.tasks), k=min(2, len(slurm.tasks))):
            kind = chance.random()
            if kind < 0.4 and mishaps:
                mishaps -= 1
                if kind < 0.1:
                    slurm.end(task, chance.choice(["FAILED", "NODE_FAIL", "PREEMPTED"]))
                elif kind < 0.2:
                    slurm.vanish(task)
                elif kind < 0.25:
                    slurm.refusals.append("Unable to contact slurm controller")
                elif kind < 0.3:
                    lab.resume(Run(lab.watch.run.folder))
                elif kind < 0.35:
                    slurm.down = not slurm.down
                else:
                    slurm.run(task)  # though what it needs may not be there
            elif task in slurm.ready():
                slurm.run(task)
        slurm.down = slurm.down and chance.random() < 0.7
    assert not lab.watch.open
    for key in lab.watch.failures:  # given up only after that many submissions
        assert "submissions" in lab.watch.failures[key].reason or lab.watch.failures[key].blocked
    if not lab.watch.failures:
        assert all(goal.done() for goal in goals)


def test_one_launcher_at_a_time(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.other_launcher("me") is None
    run.renew_launcher("other")
    found = run.other_launcher("me")
    assert found is not None
    assert found.pid == os.getpid()
    assert run.other_launcher("other") is None
    run.release_launcher("me")
    assert run.other_launcher("me") is not None
    run.release_launcher("other")
    assert run.other_launcher("me") is None


def test_items_of_another_user_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.write_items(0, [Number(tmp_path, "a"), Number(tmp_path, "b")])
    assert run.load_item(Place(0, 1)) == Number(tmp_path, "b")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UserError, match="belongs to another user"):
        run.load_item(Place(0, 1))


def test_all_items_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = missing_stages(chain(tmp_path / "a", width=7))
    requests = [request_for(ClusterSettings(), s.name, s.resources, 0) for s in stages]
    run = create_run(tmp_path / "runs", stages, requests, goals="", threads=None)
    opened: list[Path] = []
    original = Path.open

    def opening(path: Path, mode: str = "r") -> Any:
        opened.append(path)
        return original(path, mode)

    monkeypatch.setattr(Path, "open", opening)
    items = run.load_items()
    assert [path.name for path in opened if path.suffix == ".bin"] == ["0.bin", "1.bin", "2.bin"]
    assert list(items.values()) == [item for stage in stages for item in stage.items]
    assert items == {place: run.load_item(place) for place in items}


def test_files_that_a_network_filesystem_cannot_read_are_as_good_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    array = ArrayRecord("0-0-a", "x.0-0-a", 0, [0], 1.0, "7")
    run.write_array(array)
    run.renew_launcher("other")
    write_failure(run.failure_file("0-0-a", 0), Failure("x", "boom"))

    def stale(path: Path) -> bytes:
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    monkeypatch.setattr(Path, "read_bytes", stale)
    assert run.arrays() == []
    assert run.failure(array, 0) is None
    assert run.other_launcher("me") is None
    run.release_launcher("other")


def test_the_commonest_reason_to_wait_is_said(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(4)])
    lab.step()
    reasons = ("None", "Priority", "QOSMaxGRESPerUser", "QOSMaxGRESPerUser")
    for task, reason in zip(list(lab.slurm.tasks), reasons, strict=True):
        lab.slurm.tasks[task] = TaskState("PENDING", reason, lab.slurm.tasks[task].job)
    lab.step()
    assert lab.watch.waiting_for() == "QOSMaxGRESPerUser"
    view = View(lab.watch)
    view.said = -1e9
    view.show()
    assert "number 0/4 done; waiting for QOSMaxGRESPerUser" in capsys.readouterr().err
    for task in list(lab.slurm.tasks):
        lab.slurm.tasks[task] = TaskState("RUNNING", "None", lab.slurm.tasks[task].job)
    lab.step()
    assert lab.watch.waiting_for() == ""


def test_a_failure_names_its_log(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "x"), Broken(tmp_path / "a", "y")])
    lab.step()
    for task in list(lab.slurm.tasks):
        lab.slurm.run(task)
    (array,) = lab.watch.arrays.values()
    failure = lab.watch.run.failure(array, 1)
    assert isinstance(failure, Failure)
    assert failure.log.endswith(f"arrays/{array.label}/1_1_0_log.out")

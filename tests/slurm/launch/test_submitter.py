"""How arrays are submitted, refused, and taken over from launchers that died."""

import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from slurm.errors import SweepError, UserError
from slurm.launch.launcher import SILENCE_SECONDS, look_after
from slurm.launch.submission import Refused
from slurm.launch.submitter import REFUSALS
from slurm.launch.watch import SUBMISSION_SECONDS
from slurm.runs import ArrayRecord, Place, Run
from slurm.scheduler.commands import Scheduler, SchedulerDown, TaskId, TaskState
from tests.slurm.fake_slurm import FakeSlurm, Lab, chain
from tests.slurm.items import Number


def test_arrays_are_split(lab: Lab, tmp_path: Path) -> None:
    lab.slurm.array_size = 4
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(10)])
    lab.run_all()
    assert lab.slurm.sizes == [4, 4, 2]


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


def test_other_jobs_of_the_user_are_waited_for_however_long_they_take(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of the run's own jobs is in the queue, and for hours there is no room for one."""
    full = "sbatch: error: AssocMaxSubmitJobLimit\nJob violates accounting/QOS policy"
    lab.slurm.refusals = [full] * 20
    lab.clock.now = time.monotonic()
    began = lab.clock.now
    monkeypatch.setattr("slurm.launch.launcher.time", lab.clock)
    lab.start([Number(tmp_path / "a", "n")])
    look_after(lab.watch.run, lab.slurm, lab.watch.run.manifest.requests, detach=True)
    assert lab.slurm.sizes == [1]
    assert lab.clock.now - began > 2 * SILENCE_SECONDS


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

    monkeypatch.setattr("slurm.launch.submitter.submit_array", slow)
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

    monkeypatch.setattr("slurm.launch.submitter.submit_array", cancelled_meanwhile)
    monkeypatch.setattr("slurm.scheduler.commands.CANCEL_PAUSE", 0.0)
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

    monkeypatch.setattr("slurm.scheduler.commands._run", away)
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


@pytest.mark.parametrize("shown", [True, False])
def test_a_submission_that_may_have_been_taken_is_asked_for_before_the_next_one(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    """sbatch ended well without a number and squeue was away: at last one job runs each item."""
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(3)])

    def lost(*arguments: Any) -> str:
        monkeypatch.setattr("slurm.launch.submitter.submit_array", lab.slurm.submit_array)
        if shown:
            lab.slurm.submit_array(*arguments)
        raise Refused("sbatch told no number", lost=True)

    monkeypatch.setattr("slurm.launch.submitter.submit_array", lost)
    lab.step()
    lab.slurm.down = True
    lab.step(30)
    assert lab.slurm.sizes == ([3] if shown else [])  # nothing before the queue has answered
    lab.slurm.down = False
    lab.step(30)
    assert {state.state for state in lab.slurm.past.values()} == ({"CANCELLED"} if shown else set())
    assert len(lab.slurm.tasks) == 3
    lab.run_all()
    assert not lab.watch.failures


def test_jobs_that_the_queue_shows_after_the_last_refusal_are_cancelled(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A squeue that is behind, and an sbatch that says nothing: refused, but nothing is left."""
    lab.start([Number(tmp_path / "a", "n")])

    def silent(*arguments: Any) -> str:
        lab.slurm.submit_array(*arguments)
        raise Refused("sbatch told no number")

    monkeypatch.setattr("slurm.launch.submitter.submit_array", silent)
    monkeypatch.setattr("slurm.launch.launcher.time", lab.clock)
    with pytest.raises(UserError, match="sbatch told no number"):
        look_after(lab.watch.run, lab.slurm, lab.watch.run.manifest.requests)
    assert not lab.slurm.tasks
    assert not list((lab.watch.run.folder / "arrays").iterdir())

"""What a task does with signals and failures: in a process of its own, with a fake scontrol."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from slurm.cli import STOPPED
from slurm.failures import Failure, read_failure, write_failure
from slurm.files import write_text
from slurm.runs import Run
from slurm.stop import polite_stop
from slurm.sweep import Item
from slurm.tasks import last_moment
from tests.slurm.items import Broken, Misused, Number, Steps, note_start

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Disturbed(Number):
    """Fails, as it does when a signal to the whole job kills its data loaders."""

    def act(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("a data loader was killed")


@dataclass(frozen=True)
class Endless(Steps):
    """After `count` saved steps one in a library, which lets no handler of a signal run."""

    def run(self) -> None:
        note_start(self.result)
        with polite_stop():
            for step in range(self.count):
                write_text(self.state, f"{step} x")
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


class Job:
    """A process that runs one item as SLURM's task 7_3 would."""

    def __init__(
        self,
        folder: Path,
        item: Item,
        rank: int = 0,
        refusals: int = 0,
        state: str = "COMPLETING",
        left: str = "5:00",
        preempted: str = "None",
        **variables: str,
    ) -> None:
        """`refusals`: how often scontrol fails; the others but variables: what SLURM says of it."""
        self.run, self.requeued = Run(folder / "run"), folder / "requeued"
        self.run.write_items(0, [item])
        scontrol = folder / "bin" / "scontrol"
        scontrol.parent.mkdir(exist_ok=True)
        scontrol.write_text(
            '#!/bin/sh\nif test "$*" = "show job 7_3"; then\n'
            f'echo "JobId=7 JobState={state} PreemptEligibleTime=x PreemptTime={preempted}"; exit\n'
            f'fi\necho "$@" >>{self.requeued}\n'
            f"test $(wc -l <{self.requeued}) -gt {refusals}\n"
        )
        scontrol.chmod(0o755)
        squeue = scontrol.with_name("squeue")
        squeue.write_text(
            f'#!/bin/sh\ncase "$*" in\n"-h -j 7_3 -o %T") echo {state} ;;\n'
            f'"-h -j 7_3 -o %T %L") echo {state} {left} ;;\n'
            '"-h -j 7_3 -o %l") echo 2:00:00 ;;\n*) exit 1 ;;\nesac\n'
        )
        squeue.chmod(0o755)
        variables |= {
            "PATH": f"{scontrol.parent}:{os.environ['PATH']}",
            "SLURM_ARRAY_JOB_ID": "7",
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_JOB_ID": "10",
            "SLURM_PROCID": str(rank),
        }
        code = (
            "from slurm.tasks import requeueing, task; requeueing.PAUSE = 0.1; "
            f"task.run_task({str(self.run.folder)!r}, 'a', 3, 0, 0)"
        )
        self.said = folder / "said"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], cwd=ROOT, env=os.environ | variables, stderr=said
            )

    def end(self) -> int:
        return self.process.wait(timeout=60)

    @property
    def failure_file(self) -> Path:
        return self.run.failure_file("a", 3)


def steps(folder: Path) -> Steps:
    return Steps(folder / "a", "steps", count=400, pause=0.02)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.02)


def test_a_warning_of_the_time_limit_saves_and_queues_again(tmp_path: Path) -> None:
    item = steps(tmp_path)
    job = Job(tmp_path, item)
    wait_for(item.state)
    job.process.send_signal(signal.SIGUSR2)
    assert job.end() == STOPPED
    assert job.requeued.read_text() == "requeue 7_3\n"
    assert int(item.state.read_text().split()[0]) >= 10
    assert not job.failure_file.exists()


@pytest.mark.parametrize("state", ["COMPLETING", "PENDING", "''"])
def test_preemption_saves_and_leaves_the_queue_to_slurm(tmp_path: Path, state: str) -> None:
    """So does a cancellation, whose job must not come back."""
    item = steps(tmp_path)
    job = Job(tmp_path, item, state=state)
    wait_for(item.state)
    job.process.send_signal(signal.SIGTERM)
    assert job.end() == STOPPED
    assert not job.requeued.exists()


def test_preemption_with_a_grace_time_saves_and_queues_again(tmp_path: Path) -> None:
    """The job runs on for SLURM: if it ended by itself, it would have failed."""
    item = steps(tmp_path)
    job = Job(tmp_path, item, state="RUNNING", preempted="2026-11-29T04:34:43")
    wait_for(item.state)
    job.process.send_signal(signal.SIGTERM)
    assert job.end() == STOPPED
    assert job.requeued.read_text() == "requeue 7_3\n"


def test_a_task_whose_other_process_failed_is_not_queued_again(tmp_path: Path) -> None:
    """srun ends the first process then, while SLURM takes the job for one that runs."""
    item = steps(tmp_path)
    job = Job(tmp_path, item, state="RUNNING", SLURM_STEP_NUM_TASKS="2")
    wait_for(item.state)
    mistake = Failure("steps", "image 7 is damaged", mendable=True)
    write_failure(job.failure_file, mistake)
    job.process.send_signal(signal.SIGTERM)
    assert job.end() == 1
    assert not job.requeued.exists()
    assert read_failure(job.failure_file) == mistake


def test_a_task_whose_other_process_was_killed_counts_as_an_attempt(tmp_path: Path) -> None:
    item = steps(tmp_path)
    job = Job(tmp_path, item, state="RUNNING", SLURM_STEP_NUM_TASKS="2")
    wait_for(item.state)
    job.process.send_signal(signal.SIGTERM)
    assert job.end() == 1
    assert not job.requeued.exists()
    failure = read_failure(job.failure_file)
    assert failure is not None
    assert failure.lost


def test_only_the_first_process_queues_again_and_the_others_end_well(tmp_path: Path) -> None:
    """An exit code other than 0 would make srun kill the first one, which may still be saving."""
    item = steps(tmp_path)
    job = Job(tmp_path, item, rank=1)
    wait_for(item.state)
    job.process.send_signal(signal.SIGUSR2)
    assert job.end() == 0
    assert not job.requeued.exists()


def test_a_busy_controller_is_asked_again(tmp_path: Path) -> None:
    item = steps(tmp_path)
    job = Job(tmp_path, item, refusals=2)
    wait_for(item.state)
    job.process.send_signal(signal.SIGUSR2)
    assert job.end() == STOPPED
    assert job.requeued.read_text() == "requeue 7_3\n" * 3


def endless(folder: Path, count: int) -> Endless:
    return Endless(folder / "a", "endless", count=count)


def started(item: Number) -> Path:
    return item.result.with_suffix(".starts")


def test_a_step_that_is_longer_than_the_warning_is_cut_and_queued_again(tmp_path: Path) -> None:
    item = endless(tmp_path, count=3)
    job = Job(tmp_path, item, state="RUNNING", left="0:15")
    wait_for(item.state)
    job.process.send_signal(signal.SIGUSR2)
    wait_for(job.requeued)
    job.process.kill()
    assert job.end() == -signal.SIGKILL
    assert job.requeued.read_text() == "requeue 7_3\n"


@pytest.mark.parametrize(
    ("state", "left"),
    [
        ("COMPLETING", "0:15"),  # cancelled meanwhile
        ("RUNNING", "1-00:00:00"),  # a user sent the signal
        ("RUNNING", "UNLIMITED"),
    ],
)
def test_a_long_step_is_not_cut_for_nothing(tmp_path: Path, state: str, left: str) -> None:
    item = endless(tmp_path, count=3)
    job = Job(tmp_path, item, state=state, left=left)
    wait_for(item.state)
    job.process.send_signal(signal.SIGUSR2)
    time.sleep(1.0)
    job.process.kill()
    assert job.end() == -signal.SIGKILL
    assert not job.requeued.exists()


def test_a_long_step_without_any_progress_is_not_repeated(tmp_path: Path) -> None:
    item = endless(tmp_path, count=0)
    job = Job(tmp_path, item, state="RUNNING", left="0:15")
    wait_for(started(item))
    job.process.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + 60
    while "has saved nothing: not queued again" not in job.said.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.process.kill()
    assert job.end() == -signal.SIGKILL
    assert not job.requeued.exists()


def test_a_task_that_is_cut_off_by_its_time_limit_notes_that(tmp_path: Path) -> None:
    """The accounting would say so, where there is one and it answers."""
    item = Number(tmp_path / "a", "item", seconds=60)
    job = Job(tmp_path, item, state="RUNNING", left="0:15")
    wait_for(started(item))
    job.process.send_signal(signal.SIGUSR2)
    wait_for(job.failure_file)
    job.process.kill()
    assert job.end() == -signal.SIGKILL
    failure = read_failure(job.failure_file)
    assert failure is not None
    assert failure.reason == "ran into its limit of 120 minutes; raise --time"
    assert not job.requeued.exists()


def test_a_task_that_ends_in_its_last_seconds_notes_nothing(tmp_path: Path) -> None:
    item = Number(tmp_path / "a", "item", seconds=2)
    job = Job(tmp_path, item, state="RUNNING", left="0:15")
    wait_for(started(item))
    job.process.send_signal(signal.SIGUSR2)
    wait_for(job.failure_file)
    assert job.end() == 0
    assert item.done()
    assert not job.failure_file.exists()


def test_slurm_is_asked_until_the_limit_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, acted = [None, last_moment.MARGIN + 0.1, 5.0], []
    monkeypatch.setattr(last_moment, "PAUSE", 0.01)
    monkeypatch.setattr(last_moment, "seconds_left", lambda: answers.pop(0))
    with polite_stop(), last_moment.before_the_limit(lambda: acted.append(len(answers))):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR2)
        deadline = time.monotonic() + 30
        while not acted and time.monotonic() < deadline:
            time.sleep(0.01)
    assert acted == [0]


def test_a_failure_is_noted(tmp_path: Path) -> None:
    job = Job(tmp_path, Broken(tmp_path / "a", "broken"))
    assert job.end() == 1
    failure = read_failure(job.failure_file)
    assert failure is not None
    assert (failure.key, failure.waiting) == ("a/broken", False)
    assert failure.reason == "ValueError: this item is broken in two lines"


def test_a_missing_input_is_no_failure(tmp_path: Path) -> None:
    need = Number(tmp_path / "a", "need")
    job = Job(tmp_path, Number(tmp_path / "a", "item", (need,)))
    assert job.end() == 1
    failure = read_failure(job.failure_file)
    assert failure is not None
    assert failure.waiting


def test_an_exception_on_the_way_out_is_no_failure(tmp_path: Path) -> None:
    job = Job(tmp_path, Disturbed(tmp_path / "a", "item"))
    assert job.end() == STOPPED
    assert not job.failure_file.exists()


def test_of_several_processes_an_error_is_no_failure_of_the_item(tmp_path: Path) -> None:
    """It may only say that another process died."""
    job = Job(tmp_path, Broken(tmp_path / "a", "broken"), SLURM_STEP_NUM_TASKS="2")
    assert job.end() == 1
    failure = read_failure(job.failure_file)
    assert failure is not None
    assert failure.lost
    assert failure.reason == "ValueError: this item is broken in two lines"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_mistake_that_only_one_process_meets_is_what_is_noted(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    items = {0: Broken(tmp_path / "a", "x"), 1: Misused(tmp_path / "a", "x")}
    for rank in order:
        job = Job(tmp_path, items[rank], rank=rank, SLURM_STEP_NUM_TASKS="2")
        assert job.end() == 1
    failure = read_failure(job.failure_file)
    assert failure is not None
    assert (failure.mendable, failure.lost) == (True, False)
    assert failure.reason == "the data folder is empty; fill it"


def test_a_late_first_process_leaves_what_this_start_noted(tmp_path: Path) -> None:
    misused, steps = Misused(tmp_path / "a", "x"), Number(tmp_path / "a", "x")
    start = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_RESTART_COUNT": "3"}
    assert Job(tmp_path, misused, rank=1, **start).end() == 1
    job = Job(tmp_path, steps, rank=0, **start)
    assert job.end() == 0
    assert job.failure_file.exists()
    assert Job(tmp_path, steps, rank=0, **start | {"SLURM_RESTART_COUNT": "4"}).end() == 0
    assert not job.failure_file.exists()


@pytest.mark.parametrize("first", [True, False])
def test_a_later_start_takes_back_what_an_earlier_one_noted(tmp_path: Path, first: bool) -> None:
    item = Number(tmp_path / "a", "item")
    note = Run(tmp_path / "run").failure_file("a", 3)
    note.parent.mkdir(parents=True)
    note.write_text("{}")
    assert Job(tmp_path, item, rank=0 if first else 1).end() == 0
    assert item.done()
    assert note.exists() is not first

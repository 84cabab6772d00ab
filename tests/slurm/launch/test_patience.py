"""A filesystem that fails now and then, as those on a network do, is not the end of a launcher."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurm.errors import SweepError
from slurm.launch.launcher import look_after
from slurm.launch.patience import PATIENCE_SECONDS
from slurm.runs import Run
from tests.slurm.fake_slurm import Clock, Lab
from tests.slurm.items import Number


class Turns(Clock):
    """A clock whose sleep lets the tasks of a scheduler run."""

    def __init__(self, act: Callable[[], None], seconds: float = 1.0) -> None:
        super().__init__(time.monotonic())
        self.act, self.seconds = act, seconds

    def sleep(self, seconds: float) -> None:
        self.now += self.seconds
        self.act()


@pytest.fixture
def begun(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A run of three items, which end one after the other while its launcher sleeps."""

    def end_one() -> None:
        for task in list(lab.slurm.tasks)[:1]:
            lab.slurm.run(task)

    clock = Turns(end_one)
    lab.clock = clock
    for module in ("launcher", "patience", "watch", "submitter"):
        monkeypatch.setattr(f"slurm.launch.{module}.time", clock)
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(3)])
    return lab


def failing(real: Callable[..., Any], number: int, when: Callable[..., bool]) -> Callable[..., Any]:
    """`real`, but a call for which `when` says so fails by the error of that number."""

    def call(*arguments: Any) -> Any:
        if when(*arguments):
            raise OSError(number, os.strerror(number), "zoo/runs/r/launcher.json")
        return real(*arguments)

    return call


def follow(lab: Lab) -> None:
    look_after(lab.watch.run, lab.slurm, lab.watch.run.manifest.requests)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EDQUOT])
def test_one_write_that_fails_is_told_and_tried_again(
    begun: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    calls: list[Run] = []

    def third(run: Run, token: str) -> bool:
        calls.append(run)
        return len(calls) == 3  # the first ones are before and while everything is submitted

    monkeypatch.setattr(Run, "claim", failing(Run.claim, number, third))
    follow(begun)
    assert begun.slurm.sizes == [3]
    said = capsys.readouterr().err
    assert f"launcher.json: {os.strerror(number)}; still trying, and the jobs go on" in said


def test_a_full_disk_at_the_start_is_the_users_to_mend_at_once(
    begun: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "claim", failing(Run.claim, errno.ENOSPC, lambda *arguments: True))
    with pytest.raises(OSError, match="No space left"):
        follow(begun)
    assert "the jobs go on; see python -m slurm status" in capsys.readouterr().err


def test_patience_has_an_end_that_says_what_continues(
    begun: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "claim", failing(Run.claim, errno.ESTALE, lambda *arguments: True))
    began = begun.clock.now
    with pytest.raises(SweepError, match=r"Stale.*for 30 minutes; python -m slurm resume") as ended:
        follow(begun)
    assert begun.clock.now - began > PATIENCE_SECONDS
    assert list(ended.value.failures) == [begun.watch.run.name]


def test_the_number_of_a_job_is_written_when_that_is_possible(
    begun: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, whoever resumed the run would cancel what runs."""
    left = [True, True]
    monkeypatch.setattr(
        Run,
        "write_array",
        failing(
            Run.write_array, errno.EIO, lambda run, array: bool(array.job and left and left.pop())
        ),
    )
    follow(begun)
    assert begun.slurm.sizes == [3]
    assert [array.job for array in begun.watch.run.arrays()] == ["1"]


def test_a_job_whose_tasks_got_no_files_is_submitted_again(
    begun: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = begun.slurm.submit_array

    def half(*arguments: Any) -> str:
        job = submit(*arguments)
        if job == "1":
            raise OSError(errno.ESTALE, "Stale file handle", "0_submitted.pkl")
        return job

    monkeypatch.setattr("slurm.launch.submitter.submit_array", half)
    began = begun.clock.now

    def end_one() -> None:
        for task, state in list(begun.slurm.tasks.items()):
            if state.job.startswith("2_"):
                begun.slurm.run(task)

    monkeypatch.setattr(begun.clock, "act", end_one)
    follow(begun)
    assert begun.slurm.sizes == [3, 3]
    assert {state.state for task, state in begun.slurm.past.items() if task.number == 0} == {
        "CANCELLED",
        "COMPLETED",
    }
    assert begun.clock.now - began < 60

"""Several launchers of one run, or of one sweep: at any time one of them submits."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from slurm.__main__ import cancel, resume
from slurm.errors import SweepError
from slurm.failures import Failure, write_failure
from slurm.files import write_bytes
from slurm.launch.launcher import look_after, run_slurm
from slurm.launch.submitter import Submitter
from slurm.runs import Run, find_runs
from slurm.scheduler.settings import ClusterSettings
from slurm.stored.launchers import STALE_SECONDS, Launcher
from tests.slurm.fake_slurm import Lab
from tests.slurm.items import Number


class Sleeping:
    """The clock of launchers, whose sleep a test decides."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self.sleep = sleep


@pytest.fixture
def managed(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab with a run of three items, whose scheduler `python -m slurm` talks to."""
    monkeypatch.setattr("slurm.scheduler.commands.Scheduler", lambda: lab.slurm)
    monkeypatch.setattr("slurm.scheduler.commands.CANCEL_PAUSE", 0.0)
    lab.clock.now = time.monotonic()
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(3)])
    return lab


def note_launcher(run: Run, age: float) -> None:
    """A launcher on another machine, which gave its latest sign of life `age` seconds ago."""
    other = Launcher("elsewhere", 1, "other", time.time() - age)
    write_bytes(run.folder / "launcher.json", msgspec.json.encode(other))


def test_a_cancelled_run_is_taken_up_when_its_launcher_has_left(
    managed: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the launcher sleeps between its looks: it sees that the run was cancelled."""
    run, failures = managed.watch.run, list[SweepError]()
    asleep, awake = threading.Event(), threading.Event()

    def follow() -> None:
        try:
            look_after(run, managed.slurm, run.manifest.requests)
        except SweepError as error:
            failures.append(error)

    launcher = threading.Thread(target=follow)

    def sleep(seconds: float) -> None:
        if threading.current_thread() is launcher:
            asleep.set()
            awake.wait(60)
        awake.set()
        time.sleep(0.01)

    monkeypatch.setattr("slurm.launch.launcher.time", Sleeping(sleep))
    launcher.start()
    assert asleep.wait(60)
    cancel(run)
    assert not managed.slurm.tasks
    resume(run, detach=True)
    awake.set()
    launcher.join(60)
    assert len(managed.slurm.tasks) == 3
    assert "was cancelled; python -m slurm resume continues it" in str(failures[0])
    assert managed.slurm.sizes == [3, 3]


def test_a_launcher_that_was_killed_elsewhere_is_not_relied_on(managed: Lab) -> None:
    note_launcher(managed.watch.run, STALE_SECONDS - 1.5)
    resume(managed.watch.run, detach=True)
    assert managed.slurm.sizes == [3]


def test_with_detach_a_living_launcher_is_left_to_submit(
    managed: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = managed.watch.run
    note_launcher(run, 10)
    monkeypatch.setattr(
        "slurm.launch.launcher.time", Sleeping(lambda seconds: note_launcher(run, 0))
    )
    resume(run, detach=True)
    assert managed.slurm.sizes == []
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("that process submits what is missing; python -m slurm status")


def test_with_detach_nothing_is_awaited_when_everything_has_a_task(managed: Lab) -> None:
    managed.step()
    note_launcher(managed.watch.run, 10)
    resume(managed.watch.run, detach=True)
    assert managed.slurm.sizes == [3]


def test_a_silent_scheduler_is_waited_for_before_all_is_said_to_be_submitted(
    managed: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed.step()
    for task in list(managed.slurm.tasks):
        managed.slurm.vanish(task)
    managed.slurm.down = True

    def sleep(seconds: float) -> None:
        managed.slurm.down = False

    monkeypatch.setattr("slurm.launch.launcher.time", Sleeping(sleep))
    resume(managed.watch.run, detach=True)
    assert managed.slurm.sizes == [3, 3]


def at_once(count: int, act: Callable[[], object]) -> list[object]:
    """What `act` returned in `count` threads that began it at the same time."""
    barrier, found = threading.Barrier(count), list[object]()

    def begin() -> None:
        barrier.wait(60)
        found.append(act())

    threads = [threading.Thread(target=begin) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_of_many_that_begin_at_once_one_has_the_run(managed: Lab) -> None:
    run = managed.watch.run
    found = at_once(8, lambda: run.claim(str(threading.get_ident())))
    assert len(found) == 8
    assert found.count(None) == 1


def test_whoever_was_overtaken_while_claiming_a_run_only_watches(
    managed: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = managed.watch.run
    monkeypatch.setattr("slurm.stored.launchers.time.sleep", lambda seconds: note_launcher(run, 0))
    other = run.claim("me")
    assert other is not None
    assert other.token == "other"


def test_the_same_command_twice_at_once_is_one_run(managed: Lab, tmp_path: Path) -> None:
    sweep = [Number(tmp_path / "b", f"n{i}") for i in range(3)]
    before = find_runs(managed.runs)
    at_once(
        3,
        lambda: run_slurm(
            sweep, managed.runs, ClusterSettings(), detach=True, scheduler=managed.slurm
        ),
    )
    assert len(find_runs(managed.runs)) == len(before) + 1
    assert managed.slurm.sizes == [3]
    assert not list(managed.runs.glob(".*"))


def test_the_same_command_finds_a_launcher_that_has_no_jobs_yet(
    managed: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = [Number(tmp_path / "b", "n")]
    run_slurm(sweep, managed.runs, ClusterSettings(), detach=True, scheduler=managed.slurm)
    run = find_runs(managed.runs)[-1]
    managed.slurm.tasks.clear()
    note_launcher(run, STALE_SECONDS - 2)
    run_slurm(sweep, managed.runs, ClusterSettings(), detach=True, scheduler=managed.slurm)
    assert f"is under way as run {run.name}" in capsys.readouterr().err
    assert len(find_runs(managed.runs)) == 2


def test_a_launcher_that_lost_its_run_submits_no_more(managed: Lab) -> None:
    managed.slurm.array_size = 1
    answers = [True, False]
    submitter = Submitter(managed.watch, has_run=lambda: answers.pop(0))
    managed.watch.look()
    submitter.submit()
    assert managed.slurm.sizes == [1]


@pytest.mark.parametrize("age", [STALE_SECONDS + 1, STALE_SECONDS - 4])
def test_what_failed_is_given_a_new_start_though_a_dead_launcher_seems_alive(
    managed: Lab, age: float
) -> None:
    """One that was killed on another machine, where nobody can look for its process."""
    managed.step()
    run = managed.watch.run
    for task in list(managed.slurm.tasks):
        _, place, label, index = managed.slurm.work[task]
        key = run.load_item(place).key
        write_failure(run.failure_file(label, index), Failure(key, "the data is damaged", True))
        managed.slurm.end(task, "FAILED")
    note_launcher(run, age)
    resume(run, detach=True)
    assert managed.slurm.sizes == [3, 3]

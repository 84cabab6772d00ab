"""The files of a run: who may look after it, and what is read of them."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slurm.__main__ import main, print_status
from slurm.errors import UserError
from slurm.failures import Failure, write_failure
from slurm.runs import ArrayRecord, Place, Run, create_run
from slurm.scheduler.settings import ClusterSettings, request_for
from slurm.sweep import Item, Resources, missing_stages
from tests.slurm.fake_slurm import FakeSlurm, chain
from tests.slurm.items import Number


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


@dataclass(frozen=True)
class Both:
    """Two items that are run as one, and leave a result each."""

    parts: tuple[Number, Number]

    key: ClassVar[str] = "both"
    stage: ClassVar[str] = "number"
    needs: ClassVar[tuple[Item, ...]] = ()
    resources: ClassVar[Resources] = Resources()

    def done(self) -> bool:
        return all(part.done() for part in self.parts)

    def run(self) -> None:
        for part in self.parts:
            part.run()


def both(folder: Path) -> Both:
    return Both((Number(folder, "a"), Number(folder, "b")))


def made(folder: Path, goals: list[Item]) -> Run:
    stages = missing_stages(goals)
    requests = [request_for(ClusterSettings(), s.name, s.resources, 0) for s in stages]
    return create_run(folder / "runs", stages, requests, goals="", threads=None)


def test_an_item_of_several_results_is_done_with_the_last_of_them(tmp_path: Path) -> None:
    goal = both(tmp_path)
    goal.parts[1].result.write_text("of something else")
    listed = made(tmp_path, [goal]).list_items()[Place(0, 0)]
    goal.parts[0].run()
    assert not listed.done()
    goal.parts[1].run()
    assert listed.done()


def test_a_result_that_was_there_before_its_run_is_one(tmp_path: Path) -> None:
    goal = both(tmp_path)
    goal.parts[0].run()
    listed = made(tmp_path, [goal]).list_items()[Place(0, 0)]
    assert not listed.done()
    goal.parts[1].run()
    assert listed.done()


def test_lists_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They had one result of each item or none, and in no list."""
    items = [Number(tmp_path, name) for name in "abc"]
    run = made(tmp_path, items)
    lines = f'[{{"result":"{items[0].result}"}},{{"result":"{items[1].result}"}},{{}}]'
    (run.folder / "items" / "0.json").write_text(lines)
    items[0].run()
    assert [item.done() for item in run.list_items().values()] == [True, False, False]


def test_status_after_the_last_result_of_an_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("slurm.scheduler.commands.Scheduler", FakeSlurm)
    goal = both(tmp_path)
    run = made(tmp_path, [goal])
    goal.run()
    print_status(run)
    table = capsys.readouterr().out.splitlines()
    assert [line.split() for line in table[2:]] == [["number", "1", "1", "0", "0", "0"]]


@pytest.mark.parametrize("user", [None, 12345])
def test_the_jobs_of_whoever_started_a_run_are_seen_by_all_and_cancelled_by_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    user: int | None,
) -> None:
    run = made(tmp_path / "zoo", [Number(tmp_path, "a")])
    run.write_array(ArrayRecord("0-0-a", f"{run.name}.0-0-a", 0, [0], 1.0, "7"))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    header, mine = "NAME|ARRAY_TASK_ID|STATE|JOBID|REASON", f"*'-u {os.getuid()} '*"
    task = f"test -e {tmp_path}/over || echo '{run.name}.0-0-a|N/A|RUNNING|7|None'"
    answers = {
        "squeue": f"echo '{header}'\ncase \"$*\" in {mine}) {task} ;; esac",
        "scancel": f"touch {tmp_path}/over",
    }
    for name in ("sbatch", "srun", *answers):
        (bin_folder / name).write_text(f"#!/bin/sh\n{answers.get(name, '')}\n")
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    if user is not None:
        monkeypatch.setattr(os, "getuid", lambda: user)
    main(["status", str(run.folder)])
    said = capsys.readouterr().out
    assert said.splitlines()[2].split() == ["number", "1", "0", "1", "0", "0"]
    assert "neither" not in said
    if user is None:
        main(["cancel", str(run.folder)])
        assert "1 jobs cancelled" in capsys.readouterr().out
        return
    for action in ("cancel", "resume"):
        with pytest.raises(UserError, match=f"another user, who alone can {action} it"):
            main([action, str(run.folder)])
    assert not run.cancelled
    assert not (tmp_path / "over").exists()


def test_all_items_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goals = chain(tmp_path / "a", width=7)
    stages, run = missing_stages(goals), made(tmp_path, goals)
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

    def stale(path: Path, *args: object, **more: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    monkeypatch.setattr("slurm.files.os.open", stale)
    assert run.arrays() == []
    assert run.failure(array, 0) is None
    assert run.other_launcher("me") is None
    run.release_launcher("other")

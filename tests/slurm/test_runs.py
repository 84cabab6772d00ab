"""The files of a run: who may look after it, and what is read of them."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from slurm.errors import UserError
from slurm.failures import Failure, write_failure
from slurm.runs import ArrayRecord, Place, Run, create_run
from slurm.scheduler.settings import ClusterSettings, request_for
from slurm.sweep import missing_stages
from tests.slurm.fake_slurm import chain
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

    def stale(path: Path, *args: object, **more: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    monkeypatch.setattr("slurm.files.os.open", stale)
    assert run.arrays() == []
    assert run.failure(array, 0) is None
    assert run.other_launcher("me") is None
    run.release_launcher("other")

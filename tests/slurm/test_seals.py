"""What a run's folder can make a command do: nothing but read data, unless this user sealed it."""

import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm.__main__ import main
from slurm.errors import UserError
from slurm.files import write_bytes
from slurm.runs import Place, Run, create_run
from slurm.scheduler.settings import ClusterSettings, request_for
from slurm.stored.seals import _key, key_file
from slurm.sweep import missing_stages
from tests.slurm.fake_slurm import chain


class Loud:
    """Unpickled, it leaves a file: harmless, and seen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return write_bytes, (self.path, b"ran")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of five items, with a SLURM on the PATH whose queue is empty."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in ("sbatch", "squeue", "srun", "scancel"):
        said = "echo 'NAME|ARRAY_TASK_ID|STATE|JOBID|REASON'" if name == "squeue" else ""
        (bin_folder / name).write_text(f"#!/bin/sh\n{said}\n")
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    stages = missing_stages(chain(Path("a"), width=2))
    requests = [request_for(ClusterSettings(), s.name, s.resources, 0) for s in stages]
    return create_run(tmp_path / "zoo" / "runs", stages, requests, goals="", threads=None)


def poison(run: Run) -> Path:
    """Put pickles that tell when they are loaded into every binary file of a run."""
    ran = run.folder / "ran"
    for path in run.folder.glob("items/*.bin"):
        content, loud = path.read_bytes(), pickle.dumps(sys.path) + pickle.dumps(Loud(ran))
        first = int.from_bytes(content[8:16], "little")
        offsets = [first, *[first + 32 + len(loud)] * (first // 8 - 2)]
        table = b"".join(offset.to_bytes(8, "little") for offset in offsets)
        path.write_bytes(content[:8] + table + content[first : first + 32] + loud)
    return ran


def test_commands_that_look_read_no_pickle(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = run.load_item(Place(0, 1))
    item.run()
    ran = poison(run)
    monkeypatch.setattr(pickle, "load", None)
    monkeypatch.setattr(pickle, "loads", None)
    main(["list", "--zoo", "zoo"])
    main(["status", str(run.folder)])
    main(["cancel", str(run.folder)])
    assert not ran.exists()
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if line.startswith(("extract", "fit"))]
    assert rows == [["extract", "2", "1", "0", "1", "0"], ["fit", "2", "0", "0", "2", "0"]]


@pytest.mark.parametrize("number", [0, 1])
def test_what_this_user_did_not_seal_is_not_loaded(run: Run, number: int) -> None:
    ran = poison(run)
    with pytest.raises(UserError, match=r"start the run.s command again|is damaged"):
        run.load_item(Place(0, number))
    with pytest.raises(UserError, match=r"start the run.s command again|is damaged"):
        run.load_items()
    with pytest.raises(UserError, match=r"start the run.s command again|is damaged"):
        main(["resume", str(run.folder)])
    assert not ran.exists()


def test_a_sealed_item_holds_at_its_own_place_only(run: Run, tmp_path: Path) -> None:
    copy = Run(tmp_path / "zoo" / "runs" / "another")
    shutil.copytree(run.folder, copy.folder)
    assert run.load_item(Place(0, 0)).key == "a/features0"
    with pytest.raises(UserError, match="its seal is another one"):
        copy.load_item(Place(0, 0))
    shutil.copy(run.folder / "items" / "1.bin", run.folder / "items" / "0.bin")
    with pytest.raises(UserError, match="its seal is another one"):
        run.load_item(Place(0, 0))


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_changed_byte_is_never_loaded(run: Run, data: st.DataObject) -> None:
    path = run.folder / "items" / "0.bin"
    whole = path.read_bytes()
    known = run.load_items()
    place = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    changed = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    path.write_bytes(whole[:place] if cut else whole[:place] + changed + whole[place + 1 :])
    try:
        assert run.load_items() == known
    except UserError:
        pass
    finally:
        path.write_bytes(whole)


def test_another_users_key_opens_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    with pytest.raises(UserError, match=r"the key .*other/deepcluster-bench/seal.key is not there"):
        run.load_item(Place(0, 0))
    run.write_items(5, [])  # makes that key
    run.write_items(6, [run_item_of_mine(tmp_path)])
    assert run.load_item(Place(6, 0)) == run_item_of_mine(tmp_path)
    with pytest.raises(UserError, match="its seal is another one"):
        run.load_item(Place(0, 0))


def run_item_of_mine(folder: Path) -> object:
    return chain(folder, width=1)[0]


def test_the_key_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    run = Run(tmp_path / "run")
    run.write_items(0, [chain(tmp_path)[0]])
    path = key_file()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not list(path.parent.glob("*.tmp"))
    path.chmod(0o640)
    _key.cache_clear()
    with pytest.raises(UserError, match="that you alone can read"):
        run.load_item(Place(0, 0))
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(UserError, match="that you alone can read"):
        run.load_item(Place(0, 0))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # which the specification says to ignore
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_file() == tmp_path / ".local" / "state" / "deepcluster-bench" / "seal.key"


def test_a_run_of_an_earlier_version_is_listed_and_not_loaded(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """They had a table of offsets and pickles, and nothing else."""
    ran = run.folder / "ran"
    loud = pickle.dumps(sys.path) + pickle.dumps(Loud(ran))
    for path in run.folder.glob("items/*.bin"):
        table = [24, 24 + len(loud), 24 + len(loud)]
        path.write_bytes(b"".join(offset.to_bytes(8, "little") for offset in table) + loud)
        path.with_suffix(".json").unlink()
    main(["list", "--zoo", "zoo"])
    assert run.name in capsys.readouterr().out
    main(["cancel", run.name, "--zoo", "zoo"])
    for action in ("status", "resume"):
        with pytest.raises(UserError, match=r"earlier version.*start its command again"):
            main([action, run.name, "--zoo", "zoo"])
    assert not ran.exists()


def test_a_result_of_something_else_is_no_result_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the card of a shorter pretraining, which a longer one replaces under its name."""
    monkeypatch.chdir(tmp_path)
    goals = chain(Path("a"), width=1)
    (need,) = goals[0].needs[0].needs
    need.result.parent.mkdir()  # type: ignore[attr-defined]
    need.result.write_text("of something else")  # type: ignore[attr-defined]
    stages = missing_stages(goals)
    requests = [request_for(ClusterSettings(), s.name, s.resources, 0) for s in stages]
    run = create_run(tmp_path / "runs", stages, requests, goals="", threads=None)
    listed = run.list_items()[Place(0, 0)]
    assert not listed.done()
    need.run()
    assert listed.done()

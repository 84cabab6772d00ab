"""Two runs under one name: one at a time, one method, and a restart by its own flags alone."""

import multiprocessing
import os
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from PIL import Image
from test_command import flags, refusal, refusal_after_progress
from tiny import TINY, tiny_item

from benchmarks.checkpoints.cards import read_card
from pretrain.__main__ import main
from pretrain.deepcluster import show, train
from pretrain.deepcluster.recipes import RECIPES
from pretrain.deepcluster.watching.history import processes_note
from pretrain.images import read_images
from pretrain.only_run import only_run
from slurm.distributed import World
from slurm.errors import UserError
from tests import processes


@pytest.fixture(autouse=True)
def tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "tiny", replace(TINY, epochs=1))


def interrupted(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that ends before its first epoch does."""

    def killed(run: train.Run) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.Run, "recluster", killed)
        with pytest.raises(KeyboardInterrupt):
            main(words)


def test_only_its_own_flags_go_on_with_a_restart(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others would replace the checkpoint that is registered by something else than was asked."""
    main(flags(data, tmp_path))
    old = read_card(tmp_path, "tiny")
    interrupted(flags(data, tmp_path, "--seed", "5", "--restart"), monkeypatch)
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1))
    for more in ((), ("--seed", "6"), ("--seed", "6", "--resume"), ("--clusters", "4")):
        line = refusal(capsys, flags(data, tmp_path, *more))
        assert f"{item.mark} is of a restart by other flags that did not end (" in line
        assert "seed 5, not " in line
    assert read_card(tmp_path, "tiny") == old
    mark = item.mark.read_bytes()
    main(flags(data, tmp_path, "--seed", "5"))
    assert read_card(tmp_path, "tiny").pretraining["seed"] == 5
    # As if it had been killed when it was registered: it is known to have ended.
    item.mark.write_bytes(mark)
    assert "is of another run" in refusal(capsys, flags(data, tmp_path, "--seed", "6"))
    main(flags(data, tmp_path, "--seed", "5"))
    assert "registered already" in capsys.readouterr().err
    assert not item.mark.exists()


def test_a_command_that_is_refused_leaves_the_mark_of_a_restart(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As versions before wrote it, without the flags that it is of."""
    main(flags(data, tmp_path))

    def killed(run: train.Run) -> None:
        run.save()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.Run, "_save_or_stop", killed)
        with pytest.raises(KeyboardInterrupt):
            main(flags(data, tmp_path, "--seed", "5", "--restart"))
    mark = tiny_item(tmp_path, data, TINY).mark
    name = mark.read_text().partition("\n")[0]
    mark.write_text(name)
    assert "(seed 5, not 6)" in refusal_after_progress(
        capsys, flags(data, tmp_path, "--seed", "6", "--resume")
    )
    assert mark.read_text() == name
    main(flags(data, tmp_path, "--seed", "5", "--resume"))
    assert read_card(tmp_path, "tiny").pretraining["restart"] == name


def test_a_finished_command_leaves_the_mark_of_another_restart(data: Path, tmp_path: Path) -> None:
    main(flags(data, tmp_path))
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1))
    item.mark.write_text("0" * 16)  # begun since that command was planned
    item.forget_state()
    assert item.mark.exists()


def test_a_restart_replaces_another_methods_run_to_its_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tiny_item(tmp_path, data, TINY).state
    state.parent.mkdir(parents=True)
    state.with_name("rotation.pt").touch()
    interrupted(flags(data, tmp_path, "--restart"), monkeypatch)
    main(flags(data, tmp_path, "--resume"))
    assert read_card(tmp_path, "tiny").method == "deepcluster"


def test_a_restart_can_be_given_up(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(flags(data, tmp_path))
    interrupted(flags(data, tmp_path, "--seed", "5", "--restart"), monkeypatch)
    tiny_item(tmp_path, data, replace(TINY, epochs=1)).mark.unlink()
    main(flags(data, tmp_path))
    assert "registered already" in capsys.readouterr().err


@dataclass(frozen=True)
class Place:
    """A pretraining, as far as it holds a name."""

    state: Path
    identity: str = "this very run"

    def done(self) -> bool:
        return self.state.exists()


def hold(folder: Path, held: Event, enough: Event, identity: str = "this very run") -> None:
    with only_run(Place(folder / "x.pt", identity), World()):
        held.set()
        enough.wait(60)


@contextmanager
def held_elsewhere(folder: Path, identity: str = "this very run") -> Iterator[Event]:
    """While another process holds a name: the event that ends it."""
    context = multiprocessing.get_context("fork")
    held, enough = context.Event(), context.Event()
    other = context.Process(target=hold, args=(folder, held, enough, identity))
    other.start()
    assert held.wait(60)
    try:
        yield enough
    finally:
        enough.set()
        other.join()


def test_a_name_has_one_run_at_a_time(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_item(tmp_path, data, TINY).state.parent
    with held_elsewhere(folder):
        line = refusal_after_progress(capsys, flags(data, tmp_path))
        assert "another run of this name is under way" in line
        assert not list(folder.glob("*.pt"))
    main(flags(data, tmp_path))
    assert not (folder / ".lock").exists()


BATCH = {"SLURM_JOB_ID": "7", "ENVIRONMENT": "BATCH"}


def test_a_job_waits_for_another_start_of_its_run(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SLURM starts a job elsewhere when its node drops out, where the processes may go on."""
    monkeypatch.setattr("pretrain.only_run.PAUSE", 0.05)
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1))
    for name, value in BATCH.items():
        monkeypatch.setenv(name, value)
    with held_elsewhere(item.state.parent, item.identity) as enough:
        timer = threading.Timer(0.5, enough.set)
        timer.start()
        item.run()
        timer.join()
    assert item.done()
    assert capsys.readouterr().err.count("waiting for its end") == 1


def test_a_job_does_not_wait_for_another_run_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not go on from the state of that one, and a GPU would idle until then."""
    for name, value in BATCH.items():
        monkeypatch.setenv(name, value)
    with (
        held_elsewhere(tmp_path, "another seed"),
        pytest.raises(UserError, match="another run of this name"),
        only_run(Place(tmp_path / "x.pt"), World()),
    ):
        raise AssertionError


def test_what_another_start_made_meanwhile_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.pt").touch()
    with only_run(Place(tmp_path / "x.pt"), World()) as done:
        assert done
    with only_run(Place(tmp_path / "y.pt"), World()) as done:
        assert not done


def test_all_processes_of_a_job_wait_and_stop_together(tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys, threading
            from pathlib import Path
            from types import SimpleNamespace
            import torch
            import pretrain.only_run
            from pretrain.only_run import only_run
            from slurm.distributed import find_world, process_group
            from slurm.stop import Stopped, polite_stop

            pretrain.only_run.PAUSE = 0.05
            world, state = find_world(), Path(sys.argv[1])
            item = SimpleNamespace(state=state, identity="this very run", done=state.exists)
            with process_group(world, torch.device("cpu")):
                if world.first:
                    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR2)).start()
                try:
                    with polite_stop(), only_run(item, world):
                        raise AssertionError
                except Stopped:
                    state.with_name(f"stopped {world.rank}").touch()
                with polite_stop(), only_run(item, world) as done:
                    assert not done
                    sys.stdout.write(f"went on {world.rank}.")
            """
        )
    )
    state, root = tmp_path / "state" / "x.pt", Path(__file__).parents[2]
    with held_elsewhere(state.parent) as enough:
        how = {"processes": 2, "env": os.environ | BATCH, "cwd": root}
        with processes.start(script, state, **how) as started:
            while started.poll() is None and len(list(state.parent.glob("stopped*"))) < 2:
                time.sleep(0.05)
            enough.set()
            out, err = started.communicate(timeout=120)
    assert started.returncode == 0, err
    assert [out.count(f"went on {rank}.") for rank in range(2)] == [1, 1]


def test_what_was_made_since_it_was_planned_is_not_made_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1))
    main(flags(data, tmp_path))
    monkeypatch.setattr(train.Run, "train", None)
    item.run()


def test_a_dead_run_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with only_run(Place(tmp_path / "x.pt"), World()):
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()


def test_a_run_of_another_method_is_not_mixed_in(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tiny_item(tmp_path, data, TINY).state
    state.parent.mkdir(parents=True)
    state.with_name("rotation.pt").touch()
    assert "rotation.pt is of a run of this name by another method" in refusal(
        capsys, flags(data, tmp_path)
    )
    state.with_name("rotation.pt").rename(state.with_name("restart"))
    words = ["--data", str(data), "--zoo", str(tmp_path), "--name", "tiny", "--device", "cpu"]
    for other in ("restart", "deepcluster.pt"):
        assert f"{other} is of a run of this name by another method" in refusal(
            capsys, ["rotation", "--recipe", "digits_rotation_resnet18-8e", *words]
        )
        state.with_name(other).rename(state)


def test_images_beside_train_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("train/a.png", "cats/b.png", "my dir -x/deep/c.png", "test/d.png", "e.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / place)
    (tmp_path / "notes").mkdir()
    (tmp_path / "all").symlink_to(tmp_path / "train")  # which are read
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert read_images(tmp_path).paths == ("a.png",)
    said = capsys.readouterr().err
    assert said == (
        f"note: only {tmp_path}/train is read; there are images beside it: cats/, my dir -x/, "
        "1 file\n"
    )
    assert len(read_images(tmp_path / "cats").paths) == 1
    assert capsys.readouterr().err == ""


def test_the_curves_are_of_the_run_whose_trunk_is_shown(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        "pretrain.deepcluster.watching.drawing.draw_curves",
        lambda history: drawn.append(history) or b"",
    )
    main(flags(data, tmp_path, "--keep", "1"))
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1))
    log = item.log.read_bytes()
    words = ["tiny", "--zoo", str(tmp_path), "--output", str(tmp_path / "pictures")]
    show.main(words)
    item.log.write_bytes(log.replace(b'"loss":', b'"loss":9'))  # of a run before it
    show.main(words)
    loss = read_card(tmp_path, "tiny").pretraining["history"]["loss"]  # type: ignore[index]
    assert [one["loss"] for one in drawn] == [loss, loss]


def test_a_place_that_cannot_be_held_is_one_line(tmp_path: Path) -> None:
    """In all processes: the others would wait for the first one."""
    (tmp_path / "state").touch()
    with (
        pytest.raises(UserError, match="state"),
        only_run(Place(tmp_path / "state" / "tiny" / "x.pt"), World()),
    ):
        raise AssertionError


def test_a_folder_that_cannot_be_listed_has_no_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "train" / "a.png")

    def denied(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", denied)
    assert read_images(tmp_path).paths == ("a.png",)
    assert capsys.readouterr().err == ""


def test_how_many_processes_trained_is_noted_when_it_changed() -> None:
    assert processes_note({"processes": [2, 2]}) == ()
    assert processes_note({"processes": [None, 2]}) == ()  # the first of a version that kept none
    assert processes_note({}) == ()
    (note,) = processes_note({"processes": [1, 1, 4, 1]})
    assert note.startswith("trained by 1 and then 4 processes")


def test_a_run_that_is_shared_is_refused_in_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others do not look at the lock: they hear of it."""

    def hear(mistakes: list[UserError]) -> None:
        raise UserError("of the first")

    monkeypatch.setattr("pretrain.only_run.distributed.raise_together", hear)
    with (
        pytest.raises(UserError, match="of the first"),
        only_run(Place(tmp_path / "x.pt"), World(1, 2)),
    ):
        raise AssertionError
    assert not list(tmp_path.iterdir())

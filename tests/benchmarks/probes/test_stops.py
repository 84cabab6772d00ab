"""How a probe ends early: asked to, diverged, or without room to save."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.probes import stream, training
from benchmarks.probes.frozen import Features, Maps
from benchmarks.probes.item import Probe, probe_item
from slurm import distributed
from slurm.errors import UserError, user_error
from slurm.stop import Stopped
from tests import processes
from tests.benchmarks.probes.ranks import PROTOCOL
from tests.benchmarks.voc_data import fill_disk, make_trunk

STEPS = 3  # of each epoch: 48 images in batches of 20


def make_item(zoo: Path, data: Path, **changes: object) -> Probe:
    return probe_item(make_trunk(zoo, "random:resnet18"), data, replace(PROTOCOL, **changes))  # type: ignore[arg-type]


def stop_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """A signal that comes before the vote number `call`, from 0."""
    calls = iter(range(1000))
    monkeypatch.setattr(stream, "stop_requested", lambda: next(calls) == call)


def test_a_stop_during_evaluation_continues_with_the_evaluation(
    tmp_path: Path,
    tiny_imagenet: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = make_item(tmp_path / "whole", tiny_imagenet)
    whole.run()
    item = make_item(tmp_path / "parts", tiny_imagenet)
    stop_at(monkeypatch, STEPS)  # the first vote after the first epoch's steps
    with pytest.raises(Stopped, match="saved at epoch 1/2, after 3 steps"):
        item.run()
    monkeypatch.setattr(stream, "stop_requested", lambda: False)
    step, steps = training.ProbeRun._train_step, []
    monkeypatch.setattr(
        training.ProbeRun, "_train_step", lambda run, *words: steps.append(1) or step(run, *words)
    )
    capsys.readouterr()
    item.run()
    assert len(steps) == STEPS * (PROTOCOL.epochs - 1)
    said = re.findall(r": (continues .*|epoch .*)", "\n".join(capsys.readouterr().err.splitlines()))
    # No step was left of the first epoch, so there is no loss to speak of.
    assert said[0] == "continues at epoch 1/2, after 3 steps"
    assert re.fullmatch(r"epoch 1/2 feature1 .* \| [\d.]+ s so far, [\d.]+ s left", said[1])
    assert re.fullmatch(r"epoch 2/2 loss \d\.\d{4} feature1 .* \| [\d.]+ s in all", said[2])
    records = [results.read(x.result, results.ProbeRecord) for x in (whole, item)]
    assert records[0].heads == records[1].heads


def test_processes_stop_together_and_wait_for_the_state(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    """Only one of them is asked to stop."""
    script = Path(__file__).with_name("ranks.py")
    done = processes.run(script, tmp_path, tiny_imagenet, processes=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("saved at epoch 1/2, after 3 steps; the state is there.") == 2, (
        done.stdout
    )
    assert "deprecated" not in done.stderr
    item = make_item(tmp_path, tiny_imagenet)
    item.run()
    assert item.done()


def test_processes_that_read_different_states_do_not_train_on(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item(tmp_path, tiny_imagenet)
    # What the first process says, where this one finds no state.
    monkeypatch.setattr(distributed, "broadcast_object", lambda mine: (1, 2))
    with pytest.raises(RuntimeError, match=r"different versions of .*test_mhead"):
        item.run()
    assert not item.result.exists()


def test_a_diverged_probe_is_one_line_and_no_result(tmp_path: Path, tiny_imagenet: Path) -> None:
    item = make_item(tmp_path, tiny_imagenet, learning_rate=1e30)
    says = r"head on feature1 diverged in epoch 1 .* learning rate 1e\+30"
    with pytest.raises(UserError, match=says):
        item.run()
    assert not item.result.exists()
    assert not item.state.exists()


def test_one_diverged_head_is_named(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = training.ProbeRun.features

    def overflow(run: training.ProbeRun, maps: Maps) -> Features:
        found = features(run, maps)
        if getattr(run, "epoch", 0) == 1:
            found["feature4"] = found["feature4"] * math.inf
        return found

    monkeypatch.setattr(training.ProbeRun, "features", overflow)
    item = make_item(tmp_path, tiny_imagenet)
    with pytest.raises(UserError, match="head on feature4 diverged in epoch 2"):
        item.run()
    assert not item.result.exists()
    assert item.state.exists()  # of the first epoch


def test_a_full_disk_while_saving_is_the_users_to_mend(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item(tmp_path, tiny_imagenet)
    fill_disk(monkeypatch, item.state)
    with pytest.raises(OSError, match="No space left") as caught:
        item.run()
    assert "no room left" in str(user_error(caught.value))
    assert not item.state.exists()
    assert list(item.state.parent.iterdir()) == []

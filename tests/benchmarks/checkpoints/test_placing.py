"""Weights and card in place together: of twins one wins, and no cut leaves two trunks mixed."""

import os
import subprocess
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest
import timm
import torch

from benchmarks import results
from benchmarks.checkpoints import placing
from benchmarks.checkpoints.cards import read_card, registered_names
from benchmarks.registry import load_backbone, register
from slurm import leftovers
from slurm.errors import UserError

ARCH = "test_resnet"


def trunk(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    state: dict[str, torch.Tensor] = timm.create_model(ARCH, features_only=True).state_dict()
    return state


def race(folder: Path, seeds: list[int], force: bool) -> list[str]:
    """What each of the processes that register at the same moment says."""
    fork = get_context("fork")
    start = fork.Barrier(len(seeds))
    said = [fork.SimpleQueue() for _ in seeds]

    def run(seed: int, words: "SimpleQueue[str]") -> None:
        state = trunk(seed)
        start.wait(60)
        try:
            card = register(folder / "zoo", "it", state, arch=ARCH, sobel=False, force=force)
            words.put(card.weights)
        except UserError as error:
            words.put(f"refused: {error}")

    processes = [fork.Process(target=run, args=pair) for pair in zip(seeds, said)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    return [words.get() for words in said]


def test_of_two_trunks_that_want_one_name_one_wins(tmp_path: Path) -> None:
    said = race(tmp_path, [1, 2, 1, 2], force=False)
    _, card = load_backbone(tmp_path / "zoo", "it")
    won = [words == card.weights for words in said]
    assert won in ([True, False, True, False], [False, True, False, True])
    refusals = [words for words, wins in zip(said, won) if not wins]
    assert all("has another checkpoint 'it'" in words for words in refusals)


def test_replacements_at_the_same_time_leave_one_of_them_whole(tmp_path: Path) -> None:
    register(tmp_path / "zoo", "it", trunk(0), arch=ARCH, sobel=False)
    said = race(tmp_path, [1, 2, 3, 4], force=True)
    _, card = load_backbone(tmp_path / "zoo", "it")
    assert card.weights in said
    assert len(set(said)) == 4


class Cut(BaseException):
    """The end of the process, for all that it can still do."""


@pytest.mark.parametrize("step", range(4))
def test_a_replacement_that_is_cut_off_leaves_one_trunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    old = register(tmp_path, "it", trunk(0), arch=ARCH, sobel=False)
    done: list[str] = []

    def counting(act: Callable[..., object]) -> Callable[..., object]:
        def counted(*words: object) -> object:
            if len(done) == step:
                raise Cut
            done.append("")
            return act(*words)

        return counted

    with monkeypatch.context() as patch:
        patch.setattr(placing, "write_bytes", counting(placing.write_bytes))
        patch.setattr(results, "write", counting(results.write))
        patch.setattr(Path, "replace", counting(Path.replace))
        with pytest.raises(Cut):
            register(tmp_path, "it", trunk(1), arch=ARCH, sobel=False, force=True)
    _, found = load_backbone(tmp_path, "it")
    assert (found.weights == old.weights) == (step < 4)
    new = register(tmp_path, "it", trunk(1), arch=ARCH, sobel=False, force=True)
    _, found = load_backbone(tmp_path, "it")
    assert found.weights == new.weights != old.weights
    assert not list((tmp_path / "checkpoints/it").glob("weights-*"))


def test_a_folder_that_was_made_aside_is_no_checkpoint_and_goes(tmp_path: Path) -> None:
    register(tmp_path, "it", trunk(0), arch=ARCH, sobel=False)
    aside = leftovers.temporary_beside(tmp_path / "checkpoints/other")
    ended = subprocess.Popen(["true"])
    ended.wait()
    aside = aside.with_name(aside.name.replace(f".{os.getpid()}.", f".{ended.pid}."))
    (tmp_path / "checkpoints/it").rename(aside)
    assert registered_names(tmp_path) == []
    leftovers.remove_leftovers.cache_clear()
    register(tmp_path, "it", trunk(0), arch=ARCH, sobel=False)
    assert not aside.exists()
    assert registered_names(tmp_path) == ["it"]


def test_a_card_that_is_no_json_leaves_nothing(tmp_path: Path) -> None:
    odd: dict[str, object] = {"loss": float("nan")}
    with pytest.raises(TypeError):
        register(tmp_path, "it", trunk(0), arch=ARCH, sobel=False, pretraining={"x": object()})
    assert not (tmp_path / "checkpoints").exists()
    register(tmp_path, "it", trunk(0), arch=ARCH, sobel=False, pretraining=odd)
    assert read_card(tmp_path, "it").pretraining == {"loss": None}

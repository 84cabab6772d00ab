"""Earlier states: as many as asked for, the newest whole one taken where the present is damaged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY, tiny_item

from benchmarks.checkpoints.cards import card_path, read_card
from pretrain.deepcluster.earlier import earlier_states, keep_state, load_newest
from pretrain.deepcluster.state import load_state, save_state
from slurm.errors import UserError

RESTART = "0" * 16


def write(path: Path, epoch: int, **fields: Any) -> None:
    """A state after `epoch` epochs, of the identity `{}` unless `fields` say otherwise."""
    content: dict[str, Any] = {"format": 2, "identity": "{}", "epoch": epoch, "step": 0}
    content |= {name: {} for name in ("net", "optimizer", "scaler", "figures", "history")}
    content |= {"loss": torch.zeros(()), "seconds": 0.0, "labels": None, "clustered_at": 0}
    content |= fields
    save_state(path, content)  # type: ignore[arg-type]


def kept(path: Path, epoch: int) -> Path:
    return path.with_name(f"{path.stem}.epoch-{epoch:04d}.pt")


def test_the_last_states_are_kept_and_one_that_is_damaged_costs_its_epochs_only(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tiny_item(tmp_path / "whole", data, replace(TINY, epochs=4))
    whole.run()
    item = tiny_item(tmp_path / "kept", data, keep=2)
    item.run()
    copies = earlier_states(item.state)
    assert list(copies) == [3, 2]
    for epoch, path in copies.items():
        state = load_state(path, item.identity)
        assert state is not None
        assert (state["epoch"], state["step"]) == (epoch, 0)

    item.state.write_bytes(item.state.read_bytes()[:1000])
    assert load_state(copies[3], item.identity) is not None  # a copy of its own
    copies[3].write_bytes(b"")
    longer = tiny_item(tmp_path / "kept", data, replace(TINY, epochs=4), keep=2)
    capsys.readouterr()
    longer.run()
    said = capsys.readouterr().err
    assert "deepcluster.pt cannot be continued from" in said
    assert f"; goes on from {copies[2]}" in said
    assert "continues at epoch 3/4" in said
    assert read_card(longer.zoo, "tiny") == read_card(whole.zoo, "tiny")
    assert list(earlier_states(item.state)) == [4, 3]


def test_without_a_whole_one_the_damage_is_one_line(data: Path, tmp_path: Path) -> None:
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1), keep=1)
    item.run()
    card_path(tmp_path, "tiny").unlink()
    for path in (item.state, *earlier_states(item.state).values()):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"deepcluster.pt cannot be continued from.*--restart"):
        item.run()


def test_a_state_of_another_run_is_never_passed_over(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_item(tmp_path, data, replace(TINY, epochs=1), keep=1).run()
    other = tiny_item(tmp_path, data, replace(TINY, epochs=1), seed=5, restart=RESTART)
    with monkeypatch.context() as patch:  # killed before it removed its own
        patch.setattr(type(other), "forget_state", lambda item: None)
        other.run()
    assert list(earlier_states(other.state)) == [1]  # of the run that was replaced
    again = tiny_item(tmp_path, data, replace(TINY, epochs=2))
    with pytest.raises(UserError, match="seed 5, not 0"):
        again.run()


def test_states_of_later_epochs_stay_until_they_are_passed(tmp_path: Path) -> None:
    path = tmp_path / "deepcluster.pt"
    for epoch in (1, 2, 3, 9):
        path.write_bytes(b"%d" % epoch)
        keep_state(path, epoch, 3)
    assert list(earlier_states(path)) == [9, 3, 2]
    path.write_bytes(b"new")
    for epoch, stay in ((2, [9, 3, 2]), (4, [9, 4, 3, 2]), (5, [9, 5, 4, 3]), (9, [9, 5, 4])):
        keep_state(path, epoch, 3)
        assert list(earlier_states(path)) == stay
    assert earlier_states(path)[9].read_bytes() == b"new"


def test_more_epochs_that_keep_none_remove_none(data: Path, tmp_path: Path) -> None:
    tiny_item(tmp_path, data, replace(TINY, epochs=2), keep=2).run()
    longer = tiny_item(tmp_path, data, replace(TINY, epochs=3))
    longer.run()
    assert list(earlier_states(longer.state)) == [2, 1]
    state = load_state(longer.state, longer.identity)
    assert state is not None
    assert state["epoch"] == 3


def test_a_damaged_state_of_a_restart_costs_its_epochs_only(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    item = tiny_item(tmp_path, data, replace(TINY, epochs=2), keep=2, restart=RESTART)
    item.run()
    item.state.write_bytes(item.state.read_bytes()[:1000])
    capsys.readouterr()
    replace(item, recipe=replace(TINY, epochs=3)).run()
    said = capsys.readouterr().err
    assert "deepcluster.pt cannot be continued from" in said
    assert f"; goes on from {kept(item.state, 2)}" in said
    assert "continues at epoch 3/3" in said
    assert list(earlier_states(item.state)) == [3, 2]


@pytest.mark.parametrize("restart", ["", RESTART])
def test_a_missing_state_is_as_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], restart: str
) -> None:
    path = tmp_path / "deepcluster.pt"
    assert load_newest(path, "{}", restart, 9, speaks=True) is None
    for epoch in (1, 2):
        write(kept(path, epoch), epoch, restart=restart)
    kept(path, 3).write_bytes(b"")
    assert capsys.readouterr().err == ""
    found = load_newest(path, "{}", restart, 9, speaks=True)
    assert found is not None
    assert (found[0], found[1]["epoch"]) == (kept(path, 2), 2)
    assert f"{path} is missing; goes on from {kept(path, 2)}" in capsys.readouterr().err


def test_nothing_that_is_kept_is_begun_anew_over(tmp_path: Path) -> None:
    path = tmp_path / "deepcluster.pt"
    kept(path, 1).write_bytes(b"")
    with pytest.raises(UserError, match=r"pt is missing, and .*0001.pt cannot be.*--restart"):
        load_newest(path, "{}", "", 9, speaks=True)
    write(kept(path, 2), 2, identity='{"seed":5}', restart=RESTART)
    for restart in ("", RESTART):
        with pytest.raises(UserError, match=r"pt is missing, and .*0002.pt is of another run"):
            load_newest(path, "{}", restart, 9, speaks=True)


def test_a_restart_takes_what_is_its_own_and_says_what_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deepcluster.pt"
    for file in (path, kept(path, 7)):
        write(file, 7, identity='{"seed":5}')
    assert load_newest(path, "{}", RESTART, 9, speaks=True) is None
    assert capsys.readouterr().err == ""  # what it replaces is as it should be
    write(kept(path, 2), 2, restart=RESTART)
    found = load_newest(path, "{}", RESTART, 9, speaks=True)
    assert found is not None
    assert found[0] == kept(path, 2)
    assert f"{path} is not of the restart under way; goes on" in capsys.readouterr().err
    kept(path, 2).unlink()
    path.write_bytes(b"")
    assert load_newest(path, "{}", RESTART, 9, speaks=True) is None
    said = capsys.readouterr().err
    assert f"{path} cannot be continued from" in said
    assert "; no whole state of this restart is there, so it begins anew" in said


def test_what_went_further_than_the_epochs_asked_for_is_taken_last(tmp_path: Path) -> None:
    path = tmp_path / "deepcluster.pt"
    for epoch in (2, 3, 8, 9):
        write(kept(path, epoch), epoch)
    taken = {epochs: load_newest(path, "{}", "", epochs, speaks=False) for epochs in (1, 3, 5, 8)}
    numbers = {epochs: found and found[1]["epoch"] for epochs, found in taken.items()}
    assert numbers == {1: 9, 3: 3, 5: 3, 8: 8}

"""Earlier states: as many as asked for, the newest whole one taken where the present is damaged."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY, tiny_item

from benchmarks.checkpoints.cards import card_path, read_card
from pretrain.deepcluster.earlier import earlier_states, keep_state
from pretrain.deepcluster.state import load_state
from slurm.errors import UserError


def test_the_last_states_are_kept_and_one_that_is_damaged_costs_its_epochs_only(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tiny_item(tmp_path / "whole", data, replace(TINY, epochs=4))
    whole.run()
    item = tiny_item(tmp_path / "kept", data, keep=2)
    item.run()
    kept = earlier_states(item.state)
    assert list(kept) == [3, 2]
    for epoch, path in kept.items():
        state = load_state(path, item.identity)
        assert state is not None
        assert (state["epoch"], state["step"]) == (epoch, 0)

    item.state.write_bytes(item.state.read_bytes()[:1000])
    assert load_state(kept[3], item.identity) is not None  # a copy of its own
    kept[3].write_bytes(b"")
    longer = tiny_item(tmp_path / "kept", data, replace(TINY, epochs=4), keep=2)
    capsys.readouterr()
    longer.run()
    said = capsys.readouterr().err
    assert "deepcluster.pt cannot be continued from" in said
    assert f"; goes on from {kept[2]}" in said
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
    other = tiny_item(tmp_path, data, replace(TINY, epochs=1), seed=5, restart="0" * 16, keep=0)
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
    for epoch, kept in ((2, [9, 3, 2]), (4, [9, 4, 3, 2]), (5, [9, 5, 4, 3]), (9, [9, 5, 4])):
        keep_state(path, epoch, 3)
        assert list(earlier_states(path)) == kept
    assert earlier_states(path)[9].read_bytes() == b"new"


def test_more_epochs_that_keep_none_remove_none(data: Path, tmp_path: Path) -> None:
    tiny_item(tmp_path, data, replace(TINY, epochs=2), keep=2).run()
    longer = tiny_item(tmp_path, data, replace(TINY, epochs=3))
    longer.run()
    assert list(earlier_states(longer.state)) == [2, 1]
    state = load_state(longer.state, longer.identity)
    assert state is not None
    assert state["epoch"] == 3

"""State files of other content, cut or damaged ones: a probe begins anew, and says why."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.probes.state import read_state
from benchmarks.whole_files import write_tensors


def probe() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    heads = nn.ModuleDict({"feature1": nn.Linear(3, 2), "feature5": nn.Linear(4, 2)})
    optimizer = torch.optim.SGD(heads.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    sum(p.sum() for p in heads.parameters()).backward()
    optimizer.step()
    return heads, optimizer


def saved() -> dict[str, Any]:
    heads, optimizer = probe()
    return {
        "epoch": 1,
        "step": 3,
        "seconds": 2.5,
        "history": [{"feature1": (50.0, 100.0), "feature5": (25.0, 75.0)}],
        "heads": heads.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert read_state(path, *probe(), IMAGENET_AVGPOOL) is None
    write_tensors(path, saved())
    found = read_state(path, *probe(), IMAGENET_AVGPOOL)
    assert found is not None
    assert {k: found[k] for k in ("epoch", "step", "seconds", "history")} == {
        k: saved()[k] for k in ("epoch", "step", "seconds", "history")
    }
    heads, optimizer = probe()
    heads.load_state_dict(found["heads"])
    optimizer.load_state_dict(found["optimizer"])
    ours = saved()["optimizer"]["state"]
    for number, values in optimizer.state_dict()["state"].items():
        assert torch.equal(values["momentum_buffer"], ours[number]["momentum_buffer"])


@pytest.mark.parametrize(("epoch", "evaluations"), [(5, 0), (10, 1), (39, 3), (100, 10)])
def test_a_protocol_that_is_evaluated_now_and_then_continues(
    tmp_path: Path, epoch: int, evaluations: int
) -> None:
    protocol = replace(IMAGENET_AVGPOOL, evaluate_every=10)
    state = saved() | {"epoch": epoch, "history": saved()["history"] * evaluations}
    write_tensors(tmp_path / "state.pt", state)
    assert read_state(tmp_path / "state.pt", *probe(), protocol) is not None
    write_tensors(tmp_path / "state.pt", state | {"history": saved()["history"] * epoch})
    assert read_state(tmp_path / "state.pt", *probe(), protocol) is None


@pytest.mark.parametrize(
    "outcomes", [[], {"feature1": 1}, {"feature1": torch.zeros(2, 4)}, {"x": torch.zeros(2, 4)}]
)
def test_outcomes_that_are_none_are_not_continued_from(tmp_path: Path, outcomes: Any) -> None:
    write_tensors(tmp_path / "state.pt", saved() | {"outcomes": outcomes})
    assert read_state(tmp_path / "state.pt", *probe(), IMAGENET_AVGPOOL) is None


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {key: value for key, value in state.items() if key != name}


def changed(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {**state, **fields}


def other_shape(state: dict[str, Any]) -> Any:
    state["heads"]["feature5.weight"] = torch.ones(2, 5)
    return state


def other_momentum(state: dict[str, Any]) -> Any:
    state["optimizer"]["state"][0]["momentum_buffer"] = torch.ones(9)
    return state


def fewer_groups(state: dict[str, Any]) -> Any:
    state["optimizer"]["param_groups"] = []
    return state


@pytest.mark.parametrize(
    "change",
    [
        lambda _: [torch.ones(2)],
        lambda _: torch.ones(2),
        lambda _: {},
        lambda _: {"state_dict": {"conv1.weight": torch.ones(2)}, "epoch": 3},
        *(without(name) for name in saved()),
        changed(epoch=-1),
        changed(epoch=True),
        changed(epoch=2),
        changed(step="3"),
        changed(seconds=float("nan")),
        changed(history=[{"feature1": 50.0}]),
        changed(heads=[1]),
        changed(optimizer={"state": {}, "param_groups": {}}),
        changed(optimizer=None),
        other_shape,
        other_momentum,
        fewer_groups,
    ],
)
def test_other_content_is_said_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], Any]
) -> None:
    path = tmp_path / "state.pt"
    torch.save(change(copy.deepcopy(saved())), path)
    assert read_state(path, *probe(), IMAGENET_AVGPOOL) is None
    said = capsys.readouterr()
    assert "starting from the first epoch" in said.out + said.err
    assert str(path) in said.out + said.err


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(part=st.floats(0, 0.999), flip=st.booleans())
def test_cut_and_damaged_states_are_not_used(tmp_path: Path, part: float, flip: bool) -> None:
    """A flipped byte of a weight is noticed too: the run would end in other figures."""
    path = tmp_path / "state.pt"
    write_tensors(path, saved())
    content = bytearray(path.read_bytes())
    place = int(part * len(content))
    if flip:
        content[place] ^= 0x55
        path.write_bytes(content)
    else:
        path.write_bytes(content[:place])
    found = read_state(path, *probe(), IMAGENET_AVGPOOL)
    if found is not None:  # padding between the records
        assert torch.equal(found["heads"]["feature5.weight"], saved()["heads"]["feature5.weight"])

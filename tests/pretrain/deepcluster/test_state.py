"""State files of other content are one line that names the file and what to do."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pretrain.deepcluster.state import load_state, save_state
from slurm.errors import UserError

IDENTITY = '{"seed":0}'


def saved(**fields: Any) -> Any:
    return {
        "format": 1,
        "identity": IDENTITY,
        "epoch": 2,
        "step": 1,
        "loss": torch.tensor(0.5, dtype=torch.float64),
        "seconds": 1.5,
        "net": {"w": torch.ones(2)},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []},
        "scaler": {},
        "labels": torch.arange(3, dtype=torch.int32),
        "clustered_at": 1,
        "figures": {"nmi": 0.5},
        "history": {"loss": [1.0, None]},
        **fields,
    }


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert load_state(path, IDENTITY) is None
    save_state(path, saved())
    found = load_state(path, IDENTITY)
    assert found is not None
    assert found.keys() == saved().keys()
    for name in ("identity", "epoch", "step", "seconds", "figures", "history", "clustered_at"):
        assert found[name] == saved()[name]  # type: ignore[literal-required]
    assert torch.equal(found["net"]["w"], torch.ones(2))
    assert torch.equal(found["loss"], saved()["loss"])
    assert found["labels"] is not None
    assert torch.equal(found["labels"], saved()["labels"])


@pytest.mark.parametrize(
    "content",
    [
        [1],
        torch.ones(3),
        {},
        {"state_dict": {"conv1.weight": torch.ones(2)}},
        saved(epoch="2"),
        saved(epoch=True),
        saved(loss=0.5),
        saved(net=None),
        saved(history=[]),
        saved(labels=[1]),
        {key: value for key, value in saved().items() if key != "figures"},
        saved(identity=3),
        saved(format=torch.ones(2)),
        saved(format=7),
        saved(identity='{"seed":1}'),
        saved(identity="no JSON"),
        saved(identity="[1]"),
        saved(net={"w": torch.eye(3).to_sparse()}),
    ],
)
def test_other_content_is_one_line(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "state.pt"
    torch.save(content, path)
    with pytest.raises(UserError) as error:
        load_state(path, IDENTITY)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "choose another --name, or pass --restart" in message
    assert len(message.splitlines()) == 1


def test_cut_and_damaged_states_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, saved())
    whole = path.read_bytes()
    weights = whole.index(torch.ones(2).numpy().tobytes())
    damaged = whole[:weights] + b"\x41" + whole[weights + 1 :]
    for content in (b"", whole[:20], whole[: len(whole) // 2], whole[:-1], damaged):
        path.write_bytes(content)
        with pytest.raises(UserError, match="--restart"):
            load_state(path, IDENTITY)

"""`--prefix`: the trunk that begins exactly there, whatever else the file holds."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from benchmarks.checkpoints.reading import read_checkpoint
from slurm.errors import UserError


def network(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    state: dict[str, Tensor] = timm.create_model("resnet18", num_classes=0).state_dict()
    return state


@pytest.fixture(scope="module")
def networks() -> list[dict[str, Tensor]]:
    return [network(seed) for seed in range(2)]


def save(path: Path, content: dict[str, Any]) -> Path:
    torch.save(content, path / "net.pth")
    return path / "net.pth"


def below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "prefix", ["net.b.", "net.b", "state_dict.net.b.", "module.net.b.", "state_dict.module.net.b"]
)
def test_of_two_trunks_the_one_below_the_prefix_is_taken(
    tmp_path: Path, networks: list[dict[str, Tensor]], prefix: str
) -> None:
    state = below("module.net.a.", networks[0]) | below("module.net.b.", networks[1])
    state["module.net.b.fc.weight"] = torch.ones(3, 512)  # a head, which is left
    path = save(tmp_path, {"state_dict": state})
    with pytest.raises(UserError, match="holds several trunks"):
        read_checkpoint(path)
    found = read_checkpoint(path, prefix=prefix)
    assert all(torch.equal(found.tensors[name], networks[1][name]) for name in found.tensors)
    (note,) = [note for note in found.notes if "--prefix" in note]
    assert note.startswith(
        f"taken from below --prefix {prefix}; the file also holds 1 (state_dict."
    )
    assert found.dropped == {"module.net.a": len(networks[0]), "fc": 1}


@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ("other.", "has no tensor whose name starts so"),
        ("net", r"no trunk of .* begins there, only below it: 2 \(state_dict\.net\.a \("),
        ("net.", "no trunk of .* begins there"),
        ("ne", "no trunk of .* begins there"),
        ("net.a.layer", "net.pth"),
    ],
)
def test_it_must_begin_exactly_there(
    tmp_path: Path, networks: list[dict[str, Tensor]], prefix: str, says: str
) -> None:
    state = below("net.a.", networks[0]) | below("net.b.", networks[1])
    path = save(tmp_path, {"state_dict": state})
    with pytest.raises(UserError, match=says) as caught:
        read_checkpoint(path, prefix=prefix)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["missing", "reshaped", "unexpected"])
def test_every_tensor_below_it_is_the_trunks(
    tmp_path: Path, networks: list[dict[str, Tensor]], change: str
) -> None:
    state = dict(networks[0])
    if change == "missing":
        del state["layer3.0.conv1.weight"]
    elif change == "reshaped":
        state["layer3.0.conv1.weight"] = torch.ones(256, 128, 1, 1)
    else:
        state["layer3.9.conv1.weight"] = torch.ones(3)
    path = save(tmp_path, {"state_dict": below("net.a.", networks[1]) | below("net.b.", state)})
    name = re.escape("net.b.layer3.9.conv1" if change == "unexpected" else "layer3.0.conv1.weight")
    with pytest.raises(UserError, match=name):
        read_checkpoint(path, prefix="net.b.", arch="resnet18")


def test_the_same_prefix_in_two_places_is_chosen_by_which(
    tmp_path: Path, networks: list[dict[str, Tensor]]
) -> None:
    content = {"model": below("net.", networks[0]), "ema": below("net.", networks[1])}
    path = save(tmp_path, content)
    with pytest.raises(UserError, match="holds several trunks"):
        read_checkpoint(path, prefix="net.")
    for which, state in (("model.net", networks[0]), ("ema.net", networks[1])):
        found = read_checkpoint(path, prefix="net.", which=which)
        assert torch.equal(found.tensors["conv1.weight"], state["conv1.weight"])

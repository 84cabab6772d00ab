"""Weights that no trained network has are refused, with the file and the tensor."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor

from benchmarks.backbones.backbone import weight_shapes
from benchmarks.checkpoints.reading import read_checkpoint
from benchmarks.checkpoints.weights import fitted, read_weights
from benchmarks.registry import register
from slurm.errors import UserError

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    return torchvision.models.resnet18().state_dict()


def refused(path: Path, state: State) -> str:
    torch.save(state, path)
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert str(path) in str(error.value)
    with pytest.raises(UserError):
        register(path.parent / "zoo", "x", state, arch="resnet18", sobel=False)
    return str(error.value)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.complex64,
        torch.complex128,
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int32,
        torch.int64,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
    ],
)
@pytest.mark.parametrize("name", ["layer2.0.conv1.weight", "bn1.running_mean", "bn1.bias"])
@pytest.mark.filterwarnings("ignore:Casting complex:UserWarning")
def test_weights_that_are_no_real_numbers(
    tmp_path: Path, state: State, name: str, dtype: torch.dtype
) -> None:
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    message = refused(tmp_path / "x.pth", {**state, name: state[name].to(dtype)})
    assert f"{name} is of type {str(dtype).removeprefix('torch.')}" in message


def test_every_real_type_is_read(tmp_path: Path, state: State) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        torch.save({name: tensor.to(dtype) for name, tensor in state.items()}, tmp_path / "x.pth")
        tensors = read_checkpoint(tmp_path / "x.pth").tensors
        expected = state["conv1.weight"].to(dtype).float()
        assert torch.equal(tensors["conv1.weight"], expected)


def test_a_negative_variance(tmp_path: Path, state: State) -> None:
    state["layer1.0.bn2.running_var"][7] = -0.25
    message = refused(tmp_path / "x.pth", state)
    assert "negative variance in layer1.0.bn2.running_var (-0.25)" in message


def test_a_variance_of_zero_is_that_of_a_dead_channel(tmp_path: Path, state: State) -> None:
    state["layer1.0.bn2.running_var"][7] = 0.0
    torch.save(state, tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth").arch == "resnet18"


def test_double_precision_beyond_single(tmp_path: Path, state: State) -> None:
    state["conv1.weight"] = state["conv1.weight"].double()
    state["conv1.weight"][0, 0, 0, 0] = 1e300
    assert "NaN or infinity in conv1.weight" in refused(tmp_path / "x.pth", state)


def test_counters_are_whole_numbers(tmp_path: Path, state: State) -> None:
    state["bn1.num_batches_tracked"] = torch.tensor(True)
    message = refused(tmp_path / "x.pth", state)
    assert "bn1.num_batches_tracked is of type bool, where whole numbers belong" in message


def test_tables_of_positions_are_whole_numbers_too() -> None:
    shapes = weight_shapes("efficientformer_l1", sobel=False)
    tables = [name for name in shapes if name.endswith("attention_bias_idxs")]
    assert tables
    state = {
        name: torch.zeros(shape, dtype=torch.int64 if name in tables else torch.float32)
        for name, shape in shapes.items()
    }
    tensors = fitted(state, arch="efficientformer_l1", sobel=False, what="x")
    assert tensors[tables[0]].dtype == torch.int64


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_registering_tensors_without_dense_values(tmp_path: Path, state: State) -> None:
    shape = state["bn1.weight"].shape
    for odd in (torch.empty(shape, device="meta"), torch.ones(shape).to_sparse()):
        with pytest.raises(UserError, match=r"'x': bn1\.weight is no dense tensor"):
            register(
                tmp_path,
                "x",
                {**state, "bn1.weight": odd},
                arch="resnet18",
                sobel=False,
            )


def test_a_cut_safetensors_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    for size in (0, 1, 7, 8, 9, 40, 1000, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=rf"\({size} bytes; copy or download it again\)"):
            read_weights(path)


def test_damaged_headers_of_safetensors_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for header in (
        b'{"w":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
        b'{"w":[]}',
        b"[]",
        b"{" * 1000,
        b'{"w":{"dtype":"F32","shape":[18446744073709551615,9],"data_offsets":[0,4]}}',
    ):
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
        with pytest.raises(UserError, match="not a whole safetensors file") as error:
            read_weights(path)
        assert len(str(error.value).splitlines()) == 1

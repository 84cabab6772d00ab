"""Malformed checkpoints are loaded exactly, or refused with one line and exit 2."""

import io
import math
import random
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.checkpoints.files import read_file
from benchmarks.checkpoints.reading import read_checkpoint
from benchmarks.registry import main
from slurm.cli import run_command
from slurm.errors import UserError


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


def content() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    weights = {f"layer{n}.weight": torch.randn(3, 5, generator=generator) for n in range(3)}
    weights["half"] = torch.randn(4, generator=generator).half()
    return {
        "meta": {"epoch": 3, "lr": 0.5, "names": ["a", "\xe9"], "shape": (1, 2), "raw": b"\xff\0"},
        "state_dict": weights,
    }


@cache
def written(zipped: bool, protocol: int) -> bytes:
    buffer = io.BytesIO()
    torch.save(content(), buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@cache
def as_safetensors() -> bytes:
    return safetensors.torch.save(content()["state_dict"])


def read_or_refusal(path: Path, read: Callable[[Path], Any] = read_file) -> tuple[Any, str]:
    """What was read, or the line that says why not."""
    try:
        return read(path), ""
    except UserError as error:
        return None, str(error)


def assert_one_line(refusal: str, path: Path) -> None:
    assert str(path) in refusal
    assert len(refusal.splitlines()) == 1
    assert len(refusal) < 2 * len(str(path)) + 500


def same(one: Any, other: Any) -> bool:
    if isinstance(other, Tensor):
        return isinstance(one, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(other, dict):
        return (
            type(one) is dict
            and one.keys() == other.keys()
            and all(same(one[key], value) for key, value in other.items())
        )
    if isinstance(other, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@examples(200)
@given(zipped=st.booleans(), protocol=st.integers(1, 5), part=st.floats(0, 1, exclude_max=True))
@example(zipped=True, protocol=2, part=0.0)
@example(zipped=False, protocol=4, part=0.999999)
def test_cut_anywhere(tmp_path: Path, zipped: bool, protocol: int, part: float) -> None:
    whole = written(zipped, protocol)
    path = tmp_path / "x.pth"
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(UserError) as error:
        read_file(path)
    assert len(str(error.value).splitlines()) == 1
    assert "codec" not in str(error.value)


@examples(200)
@given(
    protocol=st.integers(1, 5),
    place=st.floats(0, 1, exclude_max=True),
    bits=st.integers(1, 255),
    kind=st.sampled_from(["flip", "insert", "remove", "zero"]),
    count=st.integers(1, 40),
)
def test_damaged_anywhere(
    tmp_path: Path, protocol: int, place: float, bits: int, kind: str, count: int
) -> None:
    """In torch's archives every byte of a record has its checksum."""
    damaged = bytearray(written(True, protocol))
    at = int(place * len(damaged))
    if kind == "flip":
        damaged[at] ^= bits
    elif kind == "insert":
        damaged[at:at] = bytes([bits]) * count
    elif kind == "remove":
        del damaged[at : at + count]
    else:
        damaged[at : at + count] = bytes(min(count, len(damaged) - at))
    path = tmp_path / "x.pth"
    path.write_bytes(damaged)
    found, refusal = read_or_refusal(path)
    if refusal:
        assert_one_line(refusal, path)
    else:
        assert same(found, content())


@examples(200)
@given(protocol=st.integers(1, 5), seed=st.integers(0, 2**32), count=st.integers(1, 8))
def test_scrambled_pickles_end_in_one_line_or_in_plain_values(
    tmp_path: Path, protocol: int, seed: int, count: int
) -> None:
    """The old format has no checksums: another value cannot be told, but nothing else comes out."""
    draws = random.Random(seed)
    scrambled = bytearray(written(False, protocol))
    for _ in range(count):
        scrambled[draws.randrange(len(scrambled))] = draws.randrange(256)
    path = tmp_path / "x.pth"
    path.write_bytes(scrambled)
    found, refusal = read_or_refusal(path)
    if refusal:
        assert_one_line(refusal, path)
    else:
        assert type(found) is dict


@examples(100)
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(0, 255))
def test_safetensors_cut_or_with_another_header(tmp_path: Path, place: float, bits: int) -> None:
    whole = bytearray(as_safetensors())
    path = tmp_path / "x.safetensors"
    header = 8 + int.from_bytes(whole[:8], "little")
    if bits:
        whole[int(place * header)] ^= bits
        path.write_bytes(whole)
        found, refusal = read_or_refusal(path)
        if refusal:
            assert_one_line(refusal, path)
        else:
            assert type(found) is dict
        return
    path.write_bytes(whole[: int(place * len(whole))])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        read_file(path)


# --- types and nesting, through the reading of a whole network --------------------------------


@cache
def trunk() -> dict[str, Tensor]:
    """A real network's tensors; each a single value shown many times, so that files are small."""
    with torch.device("meta"):
        shapes = timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()
    values = torch.linspace(0.1, 0.9, len(shapes)).half()
    return {
        name: values[n].clone().expand(tensor.shape)
        for n, (name, tensor) in enumerate(shapes.items())
    }


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.sampled_from(
        [
            torch.ones(2),
            torch.tensor(3),
            torch.tensor(1j),
            torch.ones(0),
            torch.eye(2).to_sparse(),
            torch.empty(2, device="meta"),
            torch.float16,
            torch.Size([2]),
            {1, 2},
            2**2000,
        ]
    ),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["epoch", "meta", "optimizer", "args", "model", "ema", "teacher", "scaler"])


@examples(50)
@given(
    beside=st.dictionaries(NAMES, VALUES, max_size=4),
    keys=st.sampled_from([(), ("state_dict",), ("model",)]),
    changed=st.none() | st.integers(0, 149),
    value=VALUES,
)
def test_any_types_beside_and_among_the_weights(
    tmp_path: Path, beside: dict[str, Any], keys: tuple[str, ...], changed: int | None, value: Any
) -> None:
    weights: dict[str, Any] = dict(trunk())
    names = list(weights)
    if changed is not None:
        weights[names[changed]] = value
    file: Any = weights if not keys else {**beside, keys[0]: weights}
    path = tmp_path / "x.pth"
    torch.save(file, path)
    found, refusal = read_or_refusal(path, read_checkpoint)
    if refusal:
        assert_one_line(refusal, path)
        return
    assert found.arch == "vit_tiny_patch16_224"
    for name, tensor in found.tensors.items():
        assert torch.equal(tensor, trunk()[name.removeprefix("model.")].float())


@pytest.mark.parametrize(
    "damage", ["cut", "sparse", "complex", "list", "nested", "empty", "text", "nan"]
)
def test_the_command_ends_with_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = tmp_path / "x.pth"
    weights: dict[str, Any] = dict(trunk())
    name = "blocks.3.norm1.weight"
    odd = {
        "sparse": torch.eye(192).to_sparse(),
        "complex": torch.ones(192, dtype=torch.complex64),
        "list": [1.0] * 192,
        "nan": torch.full((192,), math.nan),
    }
    if damage in odd:
        weights[name] = odd[damage]
    deep: Any = 0
    for _ in range(200):
        deep = [deep]
    torch.save({"state_dict": weights, "x": deep if damage == "nested" else 0}, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage in ("empty", "text"):
        path.write_bytes(b"" if damage == "empty" else b"no checkpoint\n")
    command = ["registry", "add", str(path), "--name", "x", "--zoo", str(tmp_path / "zoo")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        run_command(main)
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert len(said.err.strip().splitlines()) == 1
    assert str(path) in said.err
    if damage in ("sparse", "complex", "list", "nan"):
        assert name in said.err
    assert not list((tmp_path / "zoo").glob("checkpoints/*/*"))

"""Files of any age are read, and nothing in them is ever run."""

import argparse
import builtins
import datetime
import io
import os
import pickle
import struct
import subprocess
import sys
import types
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from benchmarks.checkpoints.files import read_file
from benchmarks.checkpoints.pickled.pickles import read_pickle
from benchmarks.checkpoints.pickled.stand_ins import Placeholder
from slurm.errors import UserError


def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"conv1.weight": torch.randn(4, 3, 3, 3, generator=generator), "n": torch.tensor(3)}


def assert_state(found: Any) -> None:
    assert set(found) == set(state())
    assert all(torch.equal(found[name], tensor) for name, tensor in state().items())


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_torch_save(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    content = {"state_dict": OrderedDict(state()), "epoch": 2**40, "lr": 0.5, "flag": True}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read_file(path)
    assert_state(found.pop("state_dict"))
    assert found == {"epoch": 2**40, "lr": 0.5, "flag": True}


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin"])
def test_safetensors_by_name_or_by_content(tmp_path: Path, name: str) -> None:
    safetensors.torch.save_file(state(), tmp_path / name)
    assert_state(read_file(tmp_path / name))


# --- Python 2 ---------------------------------------------------------------------------------


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2's pickle wrote: byte strings, and large integers as text."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str(self, text: str) -> None:
        content = text.encode("latin-1")
        if len(content) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(content)]) + content)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    def save_int(self, number: int) -> None:
        if -(2**31) <= number < 2**31:
            self.write(pickle.BININT + struct.pack("<i", number))
        elif number < 2**63:
            self.write(
                pickle.INT + str(number).encode() + b"\n"
            )  # id() as a key, in old optimizers
        else:
            digits = pickle.encode_long(number)
            self.write(pickle.LONG1 + bytes([len(digits)]) + digits)

    dispatch[str] = save_str
    dispatch[int] = save_int


def python2_dump(content: Any, file: Any, protocol: int) -> None:
    Python2Pickler(file, protocol).dump(content)


PYTHON2 = types.SimpleNamespace(Pickler=Python2Pickler, dump=python2_dump, __name__="pickle")


def test_file_of_python_2(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    content = {
        "state_dict": OrderedDict(state()),
        "arch": "alexnet",
        "author": "\xe9t\xe9",
        "long": "x" * 300,
        "optimizer": {"state": {140203456789012: {"momentum_buffer": state()["n"]}}},
        "param": nn.Parameter(torch.ones(2)),
    }
    torch.save(content, path, PYTHON2, 2, _use_new_zipfile_serialization=False)
    with pytest.raises((pickle.UnpicklingError, UnicodeDecodeError)):  # torch alone
        torch.load(path, weights_only=True)
    found = read_file(path)
    assert_state(found["state_dict"])
    assert (found["arch"], found["author"], len(found["long"])) == ("alexnet", "\xe9t\xe9", 300)
    assert list(found["optimizer"]["state"]) == [140203456789012]


# --- objects beside the weights ---------------------------------------------------------------


def install(monkeypatch: pytest.MonkeyPatch, full_name: str, cls: type) -> type:
    """Give `cls` the name of a framework's class, for as long as a file is written."""
    module, _, name = full_name.rpartition(".")
    cls.__module__, cls.__qualname__, cls.__name__ = module, name, name
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        package = ".".join(parts[:length])
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    setattr(sys.modules[module], name, cls)
    return cls


def test_settings_of_frameworks_become_placeholders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Config:
        def __init__(self) -> None:
            self.content = {"lr": 0.1}

    class Slotted:
        __slots__ = ("value",)

    config = install(monkeypatch, "omegaconf.dictconfig.DictConfig", Config)()
    buffer = install(monkeypatch, "mmengine.logging.history_buffer.HistoryBuffer", Slotted)()
    buffer.value = np.arange(3)
    path = tmp_path / "x.ckpt"
    torch.save(
        {
            "state_dict": state(),
            "args": argparse.Namespace(
                lr=0.1, mean=[0.5, 1], std=(0.5,), output=Path("/x"), w=torch.ones(2)
            ),
            "hyper_parameters": config,
            "message_hub": {"loss": buffer},
            "best": np.float64(0.5),
            "array": np.arange(4),
            "when": datetime.datetime(2020, 1, 1),
        },
        path,
    )
    monkeypatch.undo()  # the frameworks are not installed where the file is read
    allowed = set(torch.serialization.get_safe_globals())
    found = read_file(path)
    assert_state(found["state_dict"])
    assert isinstance(found["hyper_parameters"], Placeholder)
    assert found["args"] == {"lr": 0.1, "mean": [0.5, 1], "std": (0.5,)}
    assert isinstance(found["message_hub"]["loss"], Placeholder)
    assert set(torch.serialization.get_safe_globals()) == allowed


def test_dictionaries_of_frameworks_become_plain_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Parameters(dict[str, object]):
        pass

    name = "lightning.fabric.utilities.data.AttributeDict"
    parameters = install(monkeypatch, name, Parameters)(lr=0.1, state=state())
    path = tmp_path / "x.ckpt"
    torch.save({"hyper_parameters": parameters, "d": defaultdict(list, {"a": [1]})}, path)
    monkeypatch.undo()
    found = read_file(path)
    assert_state(found["hyper_parameters"].pop("state"))
    assert found == {"hyper_parameters": {"lr": 0.1}, "d": {"a": [1]}}


class Bomb:
    """Runs a command when an ordinary unpickler reads it."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", ["system", "eval", "exec", "popen", "getattr", "import", "numpy"])
def test_pickle_bombs_never_run(tmp_path: Path, kind: str, zipped: bool) -> None:
    proof = tmp_path / "ran"
    code = f"open({str(proof)!r}, 'w').close()"
    bombs = {
        "system": Bomb(os.system, f"touch {proof}"),
        "eval": Bomb(eval, code),
        "exec": Bomb(exec, code),
        "popen": Bomb(subprocess.Popen, ["touch", str(proof)]),
        "getattr": Bomb(getattr, Bomb(builtins.__import__, "os"), "getcwd"),
        "import": Bomb(builtins.__import__, "antigravity"),
        "numpy": Bomb(np.save, str(proof), [1]),
    }
    path = tmp_path / "bomb.pth"
    torch.save(
        {"state_dict": state(), "x": bombs[kind]}, path, _use_new_zipfile_serialization=zipped
    )
    if kind == "numpy":  # of a module whose objects are let through, as placeholders
        assert isinstance(read_file(path)["x"], Placeholder)
    else:
        with pytest.raises(
            UserError, match=r"could run code and is not loaded; .*save its weights"
        ):
            read_file(path)
    assert not proof.exists()
    assert "antigravity" not in sys.modules


def test_raw_pickles_are_not_run_either(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    path = tmp_path / "raw.pkl"
    path.write_bytes(pickle.dumps(Bomb(os.system, f"touch {proof}"), protocol=4))
    with pytest.raises(UserError, match=r"raw\.pkl is not a checkpoint that can be read"):
        read_file(path)
    assert not proof.exists()


def test_whole_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(nn.Sequential(nn.Linear(2, 2)), path)
    with pytest.raises(UserError, match=r"holds torch\.nn\.modules\.container\.Sequential"):
        read_file(path)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)
    with pytest.raises(UserError, match="is a TorchScript archive"):
        read_file(path)


# --- broken files -----------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.98])
def test_truncated_files(tmp_path: Path, zipped: bool, part: float) -> None:
    path = tmp_path / "x.pth"
    torch.save({"w": torch.zeros(1000)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UserError, match=r"x\.pth is not a checkpoint that can be read"):
        read_file(path)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.9])
def test_truncated_safetensors(tmp_path: Path, part: float) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[: int(4100 * part)])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        read_file(path)


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<html>404 not found</html>")
    with pytest.raises(UserError, match="is not a checkpoint"):
        read_file(tmp_path / "page.pth")
    with pytest.raises(UserError, match="cannot read"):
        read_file(tmp_path / "missing.pth")
    with pytest.raises(UserError, match="cannot read"):
        read_file(tmp_path)
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(UserError, match="holds a list, not a dictionary"):
        read_file(tmp_path / "list.pth")


def test_global_names_are_those_of_python_3() -> None:
    content = b"\x80\x02c__builtin__\nobject\nccopy_reg\n_reconstructor\n\x86."
    names = read_pickle(io.BytesIO(content)).names
    assert names == {"builtins.object", "copyreg._reconstructor"}

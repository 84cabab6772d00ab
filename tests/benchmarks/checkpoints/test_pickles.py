"""Pickles of every protocol, with objects of frameworks beside the weights, and their limits.

The frameworks' classes are imitated here, each pickled as its own code has it; they are gone when
the file is read.
"""

import datetime
import decimal
import functools
import gzip
import io
import operator
import pickle
import sys
import types
import uuid
import zipfile
from collections import ChainMap, Counter, OrderedDict, UserDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.checkpoints import files
from benchmarks.checkpoints.files import read_file
from benchmarks.checkpoints.pickled import objects, pickles
from benchmarks.checkpoints.pickled.objects import Refused
from benchmarks.checkpoints.pickled.pickles import read_pickle
from benchmarks.checkpoints.pickled.stand_ins import Placeholder
from slurm.errors import UserError


def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"conv1.weight": torch.randn(4, 3, 3, 3, generator=generator), "n": torch.tensor(3)}


def assert_state(found: Any) -> None:
    assert set(found) == set(state())
    assert all(torch.equal(found[name], tensor) for name, tensor in state().items())


# --- what frameworks put beside the weights ---------------------------------------------------


class CfgNode(dict[str, Any]):
    """yacs and fvcore: a dict with attributes."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__({k: CfgNode(v) if isinstance(v, dict) else v for k, v in content.items()})
        self.__dict__["__immutable__"] = True
        self.__dict__["__deprecated_keys__"] = {"old"}


class EasyDict(dict[str, Any]):
    """Every item is an attribute too, those called like methods of dict included."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.__dict__.update(content)


class AddictDict(dict[str, Any]):
    """Its state is itself."""

    def __getstate__(self) -> Any:
        return self


class Munch(dict[str, Any]):
    """Its state is a second copy of its items."""

    def __getstate__(self) -> Any:
        return dict(self)

    def __setstate__(self, state: Any) -> None: ...


class DefaultMunch(Munch):
    def __getstate__(self) -> Any:
        return None, dict(self)


class ConfigDict(dict[str, Any]):
    """mmengine's: made from its items."""

    def __reduce_ex__(self, _: Any) -> Any:
        return self.__class__, (dict(self),)


class HistoryBuffer:
    """mmengine's: its state names its own methods, by getattr in the older protocols."""

    methods: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.max_length = 1_000_000
        self._log_history = np.array([0.5, 0.25])
        self._count_history = np.array([1, 1])
        self._statistics_methods = {"min": HistoryBuffer.min, "mean": HistoryBuffer.mean}

    def min(self) -> float:
        return float(self._log_history.min())

    def mean(self) -> float:
        return float(self._log_history.mean())


class DictConfig:
    """omegaconf's: every node knows its parent."""

    def __init__(self, content: dict[str, Any], parent: Any = None) -> None:
        nodes = {k: DictConfig(v, self) if isinstance(v, dict) else v for k, v in content.items()}
        self.__dict__["_parent"] = parent
        self.__dict__["_content"] = nodes


class AttributeList(list[Any]):
    """A list with attributes."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(items)
        self.kind = "list"


class Config:
    """mmengine's: its state is a tuple."""

    def __getstate__(self) -> Any:
        return {"lr": 0.1}, "config.py", {"os"}


class WithKeywords:
    """Made by keyword arguments, which is an instruction of its own from protocol 4 on."""

    def __new__(cls, *, lr: float = 0.0) -> "WithKeywords":
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> Any:
        return (), {"lr": 0.1}


FOREIGN: dict[str, tuple[type, tuple[Any, ...]]] = {
    "yacs.config.CfgNode": (CfgNode, ({"LR": 0.1, "MODEL": {"DEPTH": 50}},)),
    "easydict.EasyDict": (EasyDict, ({"lr": 0.1, "values": None, "get": 3},)),
    "addict.addict.Dict": (AddictDict, ({"lr": 0.1},)),
    "munch.Munch": (Munch, ({"lr": 0.1},)),
    "munch.DefaultMunch": (DefaultMunch, ({"lr": 0.1},)),
    "mmengine.config.config.ConfigDict": (ConfigDict, ({"lr": 0.1},)),
    "mmengine.config.config.Config": (Config, ()),
    "mmengine.logging.history_buffer.HistoryBuffer": (HistoryBuffer, ()),
    "omegaconf.dictconfig.DictConfig": (DictConfig, ({"lr": 0.1, "model": {"depth": 50}},)),
    "box.box_list.BoxList": (AttributeList, ([1, 2],)),
    "hydra.utils.WithKeywords": (WithKeywords, ()),
}


def install(monkeypatch: pytest.MonkeyPatch, full_name: str) -> Any:
    """An object whose class has the framework's name, importable until monkeypatch.undo()."""
    cls, arguments = FOREIGN[full_name]
    module, _, name = full_name.rpartition(".")
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        package = ".".join(parts[:length])
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    setattr(sys.modules[module], name, cls)
    cls.__module__, cls.__qualname__, cls.__name__ = module, name, name
    for method in ("min", "mean") if cls is HistoryBuffer else ():
        function = getattr(cls, method)
        function.__module__, function.__qualname__ = module, f"{name}.{method}"
    return cls(*arguments)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", FOREIGN)
def test_objects_of_frameworks_beside_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: int, zipped: bool
) -> None:
    beside = install(monkeypatch, name)
    path = tmp_path / "x.pth"
    content = {"settings": beside, "again": [beside], "state_dict": OrderedDict(state())}
    try:
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    except pickle.PicklingError as error:
        pytest.skip(f"cannot be written at all: {error}")
    monkeypatch.undo()
    found = read_file(path)
    assert_state(found.pop("state_dict"))
    plain = {**FOREIGN[name][1][0]} if name.startswith(("yacs", "addict", "munch", "easy")) else {}
    if plain and protocol > 1:  # before protocol 2, a dictionary's items are an argument
        assert {key: found["settings"][key] for key in plain} == plain
        assert type(found["settings"]) is dict
    assert found["again"] == [found["settings"]]


BUILT_IN: dict[str, Any] = {
    "bytes": b"abc\xff" * 100,
    "no bytes": b"",
    "bytearray": bytearray(b"xy"),
    "set": {1, "a"},
    "frozenset": frozenset([1, 2]),
    "text": "\xe9\u20ac\U0001f600" * 200,
    "numbers": [0, -1, 255, 2**31, -(2**63), 2**80, 0.5, -1e300, True, False, None, 1j],
    "deque": deque([1, 2, 3], maxlen=5),
    "empty deque": deque(),
    "Counter": Counter("aab"),
    "UserDict": UserDict(a=1),
    "ChainMap": ChainMap({"a": 1}),
    "SimpleNamespace": types.SimpleNamespace(a=1),
    "date": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    "uuid": uuid.UUID(int=1),
    "decimal": decimal.Decimal("1.5"),
    "partial": functools.partial(max, 1),
    "itemgetter": operator.itemgetter(1),
    "path": Path("/x"),
    "range": range(3),
    "slice": slice(1, 2),
    "array": np.arange(5.0),
    "scalar": np.float32(3),
    "generator": np.random.default_rng(0),
    "dtype": torch.float32,
    "size": torch.Size([1, 2]),
    "device": torch.device("cuda:0"),
    "parameter": nn.Parameter(torch.ones(2)),
    "shared": [[1, 2]] * 3,
    "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_every_protocol(tmp_path: Path, protocol: int, zipped: bool) -> None:
    path = tmp_path / "x.pth"
    for beside in BUILT_IN.values():
        content = {"beside": beside, "state_dict": state(), "again": beside}
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        found = read_file(path)
        assert_state(found["state_dict"])
        if isinstance(beside, deque) and beside:
            assert found["beside"] == [1, 2, 3]
        elif isinstance(beside, str | list | tuple | bytes) and beside != b"":
            assert found["beside"] == found["again"] == beside


def test_many_objects_share_module_names_in_protocol_4(tmp_path: Path) -> None:
    """Names of classes are strings of the memo there, and can be values at the same time."""
    path = tmp_path / "x.pth"
    values = ["collections", "OrderedDict", "datetime", "date", "collections OrderedDict"]
    content = {
        "first": values,
        "dates": [datetime.date(2020, 1, day) for day in range(1, 9)],
        "ordered": OrderedDict(datetime=OrderedDict(state()), date=datetime.time(1)),
        "last": values,
    }
    torch.save(content, path, pickle_protocol=4)
    found = read_file(path)
    assert found["first"] == found["last"] == values
    assert_state(found["ordered"]["datetime"])
    assert len(found["dates"]) == 8


def test_attributes_never_reach_what_is_returned(tmp_path: Path) -> None:
    """An OrderedDict's attribute called values would hide its method; nor do tensors keep any."""
    weights = OrderedDict(state())
    weights.values = "hidden"  # type: ignore[assignment,method-assign]
    for method in ("element_size", "contiguous", "to"):
        setattr(weights["conv1.weight"], method, "hidden")
    weights["p"] = nn.Parameter(torch.ones(1))
    weights["p"].shadow = "x"  # type: ignore[attr-defined]
    torch.save({"state_dict": weights}, tmp_path / "x.pth")
    found = read_file(tmp_path / "x.pth")["state_dict"]
    assert dict(found.items()).keys() == weights.keys()
    assert type(found) is dict
    assert {type(tensor) for tensor in found.values()} == {Tensor}
    assert not any(vars(tensor) for tensor in found.values())


# --- what is said -----------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read_file(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_state_dict_of_numpy_arrays_says_so(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "x.pth"
    arrays = {name: tensor.numpy() for name, tensor in state().items()}
    torch.save({"state_dict": arrays, "epoch": torch.tensor(1)}, path, pickle_protocol=protocol)
    message = refusal(path)
    assert "holds arrays of NumPy, not tensors" in message
    assert "torch.from_numpy" in message


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (lambda: torch.eye(3).to_sparse(), "a sparse tensor"),
        (lambda: torch.eye(4).to_sparse_csr(), "a sparse tensor"),
        (lambda: torch.empty(3, device="meta"), "a tensor without values"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "a quantised"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "a nested tensor"),
        (lambda: torch.ones(1).expand(1 << 23), "a tensor of 33554432 bytes that repeats"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_without_dense_values(
    tmp_path: Path, tensor: Callable[[], Tensor], kind: str
) -> None:
    path = tmp_path / "x.pth"
    torch.save({"state_dict": state() | {"fc.weight": tensor()}}, path)
    message = refusal(path)
    assert f"state_dict.fc.weight is {kind}" in message
    torch.save({"state_dict": state(), "optimizer": {"state": [tensor()]}}, path)
    assert_state(read_file(path)["state_dict"])


def test_names_from_the_file_are_shown_escaped_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a\x1b[31m\n" + "b" * 1000: torch.eye(3).to_sparse()}, path)
    message = refusal(path)
    assert r"a\x1b[31m\nbbb" in message
    assert len(message) < len(str(path)) + 300


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (bytes(4096), "truncated"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"\x93NUMPY\x01\x00", "an array of NumPy"),
        (pickle.dumps({"model": {"w": [1.0]}}, 2), "a pickle that torch.save did not write"),
        (pickle.dumps({"model": {"w": [1.0]}}, 5), "a pickle that torch.save did not write"),
        (b'{"weight_map": {}}', "a JSON file, perhaps an index"),
        (b"nonsense", "damaged"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    message = refusal(path)
    assert words in message
    assert "codec" not in message


def test_a_file_of_torch_that_is_called_safetensors_is_read_by_its_content(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.safetensors"
    torch.save({"a": torch.ones(2)}, path)
    assert read_file(path)["a"].tolist() == [1.0, 1.0]


def test_other_archives_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with path.open("wb") as file:
        np.savez(file, a=np.ones(2))
    assert "a zip archive that torch.save did not write; in it: a.npy" in refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_cut_file_is_called_truncated(tmp_path: Path, protocol: int, zipped: bool) -> None:
    path = tmp_path / "x.pth"
    content = {"w": torch.zeros(3000), "meta": {"epoch": 3, "lr": 0.5, "b": b"\xff" * 300}}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for size in [*range(5, len(whole) - 1, 197), len(whole) - 1]:
        path.write_bytes(whole[:size])
        message = refusal(path)
        assert "truncated" in message or "cut short" in message, (size, message)
        assert f"the file has {size} bytes; copy or download it again" in message
        assert "codec" not in message


def test_a_flipped_byte_in_a_tensor_is_noticed(tmp_path: Path) -> None:
    """torch does not compare checksums: by itself it reads another value without a word."""
    path = tmp_path / "x.pth"
    torch.save({"w": torch.arange(1000.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(1000.0).numpy().tobytes()) + 400] ^= 0x40
    path.write_bytes(content)
    assert not torch.equal(torch.load(path, weights_only=True)["w"], torch.arange(1000.0))
    assert "damaged" in refusal(path)


def test_archives_without_checksums_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"state_dict": state()}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_state(read_file(path)["state_dict"])


def test_compressed_archives_are_read(tmp_path: Path) -> None:
    stored, path = tmp_path / "stored.pth", tmp_path / "x.pth"
    torch.save({"state_dict": state()}, stored)
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert_state(read_file(path)["state_dict"])


# --- limits -----------------------------------------------------------------------------------


def nested(depth: int, kind: str) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = {"list": [value], "tuple": (value,), "dict": {"a": value}}[kind]
    return value


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
def test_nesting_has_a_limit(tmp_path: Path, kind: str, protocol: int) -> None:
    path = tmp_path / "x.pth"
    for depth in (90, 110):
        torch.save({"w": torch.ones(2), "x": nested(depth, kind)}, path, pickle_protocol=protocol)
        if depth < objects.MOST_NESTED:
            assert torch.equal(read_file(path)["w"], torch.ones(2))
        else:
            assert "nests more than 100 objects in each other" in refusal(path)


def test_nesting_is_measured_when_all_is_built() -> None:
    """Each list is put into its parent while it is empty."""
    chain = [b"\x80\x02(]q\x00"]
    chain += [b"h%c]q%ca" % (n, n + 1) for n in range(120)]
    for count, allowed in ((60, True), (120, False)):
        content = b"".join(chain[: count + 1]) + b"t."
        if allowed:
            read_pickle(io.BytesIO(content))
        else:
            with pytest.raises(Refused, match="nests more than 100"):
                read_pickle(io.BytesIO(content))


def doubled(times: int) -> Any:
    value: Any = (0, 0)
    for _ in range(times):
        value = (value, value)
    return value


@pytest.mark.parametrize("as_key", [False, True])
def test_shared_objects_count_at_each_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_key: bool
) -> None:
    """Twenty tuples that hold each other twice unfold to a million; to hash them takes as long."""
    monkeypatch.setattr(objects, "MOST_SHARED", 2**14)
    path = tmp_path / "x.pth"
    for times in (8, 16):
        value = doubled(times)
        torch.save({"w": torch.ones(2), "x": {value: 1} if as_key else [value]}, path)
        if times == 8:
            assert torch.equal(read_file(path)["w"], torch.ones(2))
        else:
            assert "unfolds to more than 16384 objects" in refusal(path)


def test_the_limit_itself_stops_before_anything_is_built(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"w": torch.ones(2), "x": doubled(60)}, path)
    assert "unfolds to more than 20000000 objects" in refusal(path)


def test_an_object_that_contains_itself(tmp_path: Path) -> None:
    circle: list[Any] = []
    circle.append({"again": circle})
    torch.save({"w": torch.ones(2), "x": circle}, tmp_path / "x.pth")
    assert "an object that contains itself" in refusal(tmp_path / "x.pth")


def test_the_number_of_instructions_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickles, "MOST_INSTRUCTIONS", 1000)
    path = tmp_path / "x.pth"
    torch.save({"w": torch.ones(2), "x": list(range(500))}, path)
    assert torch.equal(read_file(path)["w"], torch.ones(2))
    torch.save({"w": torch.ones(2), "x": list(range(1200))}, path)
    assert "more than 1000 instructions" in refusal(path)


def test_archives_that_inflate_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ALWAYS_UNPACKED", 1 << 16)
    stored, path = tmp_path / "stored.pth", tmp_path / "x.pth"
    torch.save({"w": torch.zeros(1 << 16)}, stored)
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "unpack to more than 10 times its size" in refusal(path)


# --- spellings that are not followed ----------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"\x8c\x0bcollections\n\x8c\x01x\x93",  # a line break in a name would begin anew in ours
        b"\x8c\x0bcollections\x8c\x05x\ncos\x93",
        b"\x8c\x01 \x8c\x01x\x93",
        b"\x8c\x0bcollections\x94N\x8c\x0bOrderedDict\x93",  # None between the two
        b"(\x8c\x0bcollections\x8c\x0bOrderedDictt\x93",
        b"Pkey\n",  # persistent ids as text
        b"\x82\x01",  # extension codes
        b"K\x010",  # POP
        b"K\x012",  # DUP
        b"\x97",  # buffers out of band
        b"ccollections\nOrderedDict\n)}\x92",  # NEWOBJ_EX of what is no stand-in
    ],
)
def test_instructions_that_torch_save_does_not_write(body: bytes) -> None:
    with pytest.raises(Refused):
        read_pickle(io.BytesIO(b"\x80\x04" + body + b"."))


def test_what_is_named_is_what_is_written() -> None:
    """The unpickler finds no other global in the new spelling than those that were listed."""
    content = pickle.dumps([datetime.date(2020, 1, 1), OrderedDict(a=1), {1, 2}, b"x"], 4)
    found = read_pickle(io.BytesIO(content))
    again = read_pickle(io.BytesIO(found.content))
    assert again.names == found.names | {"_codecs.encode"}
    assert again.content == found.content


def test_stand_ins_cannot_be_given_attributes() -> None:
    inert = Placeholder(1, x=2)
    inert.__setstate__({"stands_for": "x"})
    assert inert.stands_for == "an object"
    with pytest.raises(AttributeError):
        inert.other = 1  # type: ignore[attr-defined]

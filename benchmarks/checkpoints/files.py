"""Read a checkpoint file of any age without running anything that it holds.

torch.load(weights_only=True) does the reading. Two things are done for it first. Files pickled by
Python 2 hold instructions that it does not know, for strings and for integers; they are rewritten
to their present equivalents. And objects of training frameworks (settings, loggers) that lie
beside the weights become inert placeholders: nothing of theirs is imported or called.
"""

import io
import pickletools
import re
import struct
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from pickle import encode_long
from typing import Any

import torch

from benchmarks.checkpoints.weights import read_weights
from slurm.errors import UserError

LEGACY_PICKLES = 5  # magic number, protocol, system, the object, storage keys; then the storages

# Modules whose objects stand beside weights in the files of known frameworks.
_BESIDE_WEIGHTS = re.compile(
    r"(argparse|pathlib|datetime|typing|enum|collections|numpy|omegaconf|yacs|easydict|addict|"
    r"munch|ml_collections|hydra|mmengine|mmcv|mmcls|mmpretrain|mmselfsup|openselfsup|"
    r"pytorch_lightning|lightning|lightning_fabric|lightning_utilities|lightly|solo|vissl|"
    r"classy_vision|fvcore|iopath|apex|torchmetrics|torch\.optim|torch\.torch_version|"
    r"sklearn|faiss)\..+|"
    r"builtins\.(object|type|dict|list|tuple|frozenset|int|float|str|bool|bytes|slice|range)|"
    r"copyreg\._reconstructor"
)
# Those among them that are filled item by item, which torch.load does to a plain dict alone.
_DICTIONARIES = re.compile(r"collections\.defaultdict|.+\.(AttributeDict|AttrDict)")


class Placeholder:
    """Stands for an object that is not needed; takes whatever it is given and keeps nothing."""

    def __new__(cls, *_: object, **__: object) -> "Placeholder":
        """Ignore the arguments of whatever class this stands for."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


class DictionaryPlaceholder:
    """Stands for a subclass of dict: a plain one is made in its stead."""

    def __new__(cls, *_: object) -> dict[object, object]:  # type: ignore[misc]
        """Ignore the arguments."""
        return {}


def read_file(path: Path) -> dict[str, Any]:
    """The dictionary in a .safetensors file, or in one that torch.save wrote, on the CPU.

    Raises `UserError` for a file that is missing, truncated, no checkpoint, or that holds objects
    which are neither tensors nor known to stand beside them.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if path.suffix == ".safetensors" or head[8:10] == b'{"':
        return dict(read_weights(path))
    try:
        content = _load(path)
    except MemoryError:
        raise
    except Exception as error:  # malformed bytes make torch and zipfile raise almost any type
        raise UserError(_explain(path, error)) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dictionary of weights")
    return content


def _load(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            names = global_names(archive.read(name))
        source: Any = path
    else:
        content, names = _modernised(path.read_bytes())
        source = io.BytesIO(content)
    inert: list[Any] = [
        (DictionaryPlaceholder if _DICTIONARIES.fullmatch(name) else Placeholder, name)
        for name in sorted(names)
        if _BESIDE_WEIGHTS.fullmatch(name)
    ]
    with warnings.catch_warnings(), torch.serialization.safe_globals(inert):
        warnings.simplefilter("ignore")  # of old storage classes and pickle protocols
        return torch.load(source, map_location="cpu", weights_only=True)


def global_names(content: bytes) -> set[str]:
    """Full names, as Python 3 has them, of all globals that a pickle refers to."""
    names = set()
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL":
            names.add(_modern_name(argument))
    return names


def _modern_name(argument: Any) -> str:
    module, name = argument.split(" ", 1)
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


def _modernised(content: bytes) -> tuple[bytes, set[str]]:
    """A file of torch.save's old format without Python 2's instructions, and its globals."""
    file = io.BytesIO(content)
    parts: list[bytes] = []
    names: set[str] = set()
    for _ in range(LEGACY_PICKLES):
        operations = list(pickletools.genops(file))
        ends = [position for _, _, position in operations[1:]] + [file.tell()]
        for (opcode, argument, start), end in zip(operations, ends):
            assert start is not None
            assert end is not None
            parts.append(_modern_operation(opcode.name, argument) or content[start:end])
            if opcode.name == "GLOBAL":
                names.add(_modern_name(argument))
    parts.append(content[file.tell() :])
    return b"".join(parts), names


def _modern_operation(name: str, argument: Any) -> bytes | None:
    """The same value by an instruction that torch.load knows; None when it knows this one."""
    if name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):
        text: bytes = argument.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(text)) + text  # BINUNICODE
    if name in ("INT", "LONG"):
        if isinstance(argument, bool):
            return b"\x88" if argument else b"\x89"  # NEWTRUE, NEWFALSE
        digits: bytes = encode_long(argument)
        return b"\x8a" + bytes([len(digits)]) + digits  # LONG1
    if name == "FLOAT":
        return b"G" + struct.pack(">d", argument)  # BINFLOAT
    return None


def _explain(path: Path, error: Exception) -> str:
    text = str(error)
    foreign = re.search(r"GLOBAL (\S+)", text)
    if foreign:
        return (
            f"{path} holds {foreign[1]}, which could run code and is not loaded; where the file "
            "was made, save its weights alone: torch.save(model.state_dict(), 'weights.pth')"
        )
    if "TorchScript" in text:
        return (
            f"{path} is a TorchScript archive; save its weights alone: "
            "torch.save(torch.jit.load(PATH).state_dict(), 'weights.pth')"
        )
    reason = text.partition("WeightsUnpickler error: ")[2] or text or type(error).__name__
    if "Placeholder" in reason:
        reason = "settings of its framework stand beside the weights"
    return (
        f"{path} is not a checkpoint that can be read ({reason.splitlines()[0][:120]}): if it is "
        "not truncated, save its weights alone where it was made: torch.save("
        "model.state_dict(), 'weights.pth')"
    )

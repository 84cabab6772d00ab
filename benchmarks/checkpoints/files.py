"""Read a checkpoint file of any age without running anything that it holds.

torch.load(weights_only=True) does the reading, of a copy in memory: each pickle of the file is
checked and spelt as that knows it (see `pickled.pickles`), objects of training frameworks that lie
beside the weights become inert (see `pickled.stand_ins`), and what comes out is reduced to plain
dictionaries, lists, numbers, strings and tensors.
"""

import io
import re
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.checkpoints.pickled.kinds import kind_of_file
from benchmarks.checkpoints.pickled.objects import Refused
from benchmarks.checkpoints.pickled.pickles import Pickle, read_pickle
from benchmarks.checkpoints.pickled.plain import plain
from benchmarks.checkpoints.pickled.stand_ins import Placeholder, stand_ins
from benchmarks.checkpoints.weights import read_weights
from slurm.errors import UserError
from slurm.files import refuse_pointer

ZIP = b"PK\x03\x04"
LEGACY_PICKLES = 5  # magic number, protocol, system, the object, storage keys; then the storages
MAGIC_NUMBER = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the first of them
# What the records of an archive may unpack to: torch.save does not compress, other tools do.
MOST_UNPACKED = 10  # times the size of the file,
ALWAYS_UNPACKED = 64 << 20  # or this many bytes

_DOWNLOAD = "copy or download it again"
_ALONE = "torch.save(model.state_dict(), 'weights.pth')"


def read_file(path: Path) -> dict[str, Any]:
    """The dictionary in a .safetensors file, or in one that torch.save wrote, on the CPU.

    What it holds is plain: dict, list, tuple, str, bytes, numbers, dense tensors, and
    `Placeholder` for anything else. Raises `UserError` for a file that is missing, truncated,
    damaged, no checkpoint, beyond the limits of `pickled`, or that holds objects which are neither
    tensors nor known to stand beside them.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    refuse_pointer(path, head)
    # By its content: some tools take the ending alone for the format.
    if head[8:10] == b'{"' or (path.suffix == ".safetensors" and head[:4] != ZIP):
        return dict(read_weights(path))
    try:
        found = plain(_load(path, head), path)
    except UserError:
        raise
    except Refused as error:
        raise UserError(_refusal(path, str(error))) from error
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory") from error
    except Exception as error:  # malformed bytes make torch and zipfile raise almost any type
        raise UserError(_explain(path, error)) from error
    if not isinstance(found, dict):
        kind = found.stands_for if isinstance(found, Placeholder) else type(found).__name__
        raise UserError(f"{path} holds a {kind}, not a dictionary of weights")
    return found


def _load(path: Path, head: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old storage classes, and of strings by Python 2
        copy, pickle = _archive(path) if head[:4] == ZIP else _old_file(path, head)
        copy.seek(0)
        inert = stand_ins(pickle.names, pickle.lists, pickle.dictionaries)
        with torch.serialization.safe_globals(inert):
            return torch.load(copy, map_location="cpu", weights_only=True)


def _archive(path: Path) -> tuple[io.BytesIO, Pickle]:
    """The file's records, none compressed, their checksums verified, with its pickle respelt."""
    copy = io.BytesIO()
    pickle: Pickle | None = None
    if not zipfile.is_zipfile(path):
        raise Refused("it is truncated: its end is missing")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as written:
        records = archive.infolist()
        names = [record.filename for record in records]
        if any(name.endswith("/constants.pkl") for name in names):
            raise Refused("TorchScript")
        if sum(name.endswith("/data.pkl") for name in names) != 1 or len(names) > len(set(names)):
            few = ", ".join(names[:3])
            raise Refused(f"a zip archive that torch.save did not write; in it: {few}")
        if sum(record.file_size for record in records) > max(
            ALWAYS_UNPACKED, MOST_UNPACKED * path.stat().st_size
        ):
            raise Refused(f"it would unpack to more than {MOST_UNPACKED} times its size")
        unsummed = not any(record.CRC for record in records)  # torch can be told to leave them out
        for record in records:
            if unsummed:
                del record.CRC  # or zipfile would compare
            plain_record = zipfile.ZipInfo(record.filename)
            plain_record.file_size = record.file_size
            with archive.open(record) as source:
                if record.filename.endswith("/data.pkl"):
                    pickle = read_pickle(io.BytesIO(source.read()))
                    written.writestr(plain_record, pickle.content)
                    continue
                with written.open(plain_record, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    assert pickle is not None
    return copy, pickle


def _old_file(path: Path, head: bytes) -> tuple[io.BytesIO, Pickle]:
    """A file of torch.save's old format with its pickles respelt."""
    kind = kind_of_file(head)
    if kind:
        raise Refused(kind)
    content = path.read_bytes()
    file = io.BytesIO(content)
    pickles = [read_pickle(file)]
    if not pickles[0].content.endswith(MAGIC_NUMBER):
        raise Refused("a pickle that torch.save did not write")
    pickles += [read_pickle(file) for _ in range(LEGACY_PICKLES - 1)]
    copy = io.BytesIO()
    for pickle in pickles:
        copy.write(pickle.content)
    copy.write(memoryview(content)[file.tell() :])
    return copy, pickles[3]


def what_is_wrong(error: UserError) -> str:
    """What `read_file` says of a damaged file, without advice to get one that nobody offers."""
    return str(error).replace(f"; {_DOWNLOAD}", "")


def _refusal(path: Path, reason: str) -> str:
    """One line for a file that is not given to torch."""
    if reason == "TorchScript":
        return (
            f"{path} is a TorchScript archive; save its weights alone: "
            "torch.save(torch.jit.load(PATH).state_dict(), 'weights.pth')"
        )
    remedy = f"save its weights alone where it was made: {_ALONE}"
    if reason.startswith(("it is truncated", "it is empty", "its records are damaged")):
        size = path.stat().st_size
        remedy = f"the file has {size} bytes; {_DOWNLOAD}"
    return f"{path} is not a checkpoint that can be read ({reason}): {remedy}"


def _explain(path: Path, error: Exception) -> str:
    """One line for what zipfile or torch said."""
    text = str(error)
    foreign = re.search(r"GLOBAL (\S+)", text)
    if foreign:
        return (
            f"{path} holds {foreign[1]}, which could run code and is not loaded; where the file "
            f"was made, save its weights alone: {_ALONE}"
        )
    if isinstance(error, zipfile.BadZipFile | EOFError) or "unexpected EOF" in text:
        return _refusal(path, f"its records are damaged or cut short: {text or 'it ends early'}")
    reason = text.partition("WeightsUnpickler error: ")[2] or text or type(error).__name__
    if "Placeholder" in reason or "was not an allowed" in reason:
        reason = "settings of its framework stand beside the weights"
    return _refusal(path, reason.splitlines()[0][:120])

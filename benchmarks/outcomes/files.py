"""What became of every test image, in a file beside a record, so that its figures can be resampled.

`PROTOCOL-KEY.outcomes.safetensors` lies beside `PROTOCOL-KEY.json`, is written before it, and is
named in it by its fingerprint. Every tensor has the test images in its first axis, but those of
low-shot training: `ranks` are (draws, images, classes), and `halves` (costs, halves of the images)
hold mAP in percent; see `halves.py`.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.results import Split
from slurm.errors import UserError
from slurm.files import read_regular, write_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = ".outcomes.safetensors"
# Of the test images in two halves, each of which gives two choices; low-shot training grades every
# cost on all of them, which for many would take longer than the training.
SPLITS = 2


class About(msgspec.Struct, frozen=True):
    """Of which images the file is."""

    images: int
    sha256: str  # of the list of test images


def outcomes_path(record: Path) -> Path:
    """Where the outcomes of a record lie."""
    return record.with_name(record.name.removesuffix(".json") + SUFFIX)


def write_outcomes(record: Path, tensors: "Mapping[str, NDArray[Any]]", test: Split) -> str:
    """Atomically write the outcomes of `record` on `test`; their fingerprint, for the record."""
    from safetensors.numpy import save

    about = msgspec.json.encode(About(test.images, test.sha256)).decode()
    content = save({name: _whole(array) for name, array in tensors.items()}, {"about": about})
    write_bytes(outcomes_path(record), content)
    return fingerprint(content)


def read_outcomes(record: Path, known: str, test: Split) -> "dict[str, NDArray[Any]]":
    """The tensors beside `record`, whose fingerprint it holds as `known`.

    `UserError` when the file is missing, cut or changed, or is of other images than `test`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = outcomes_path(record)
    again = f"; to have intervals, move {record.name} away and run its benchmark again"
    try:
        content = read_regular(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}{again}") from None
    if fingerprint(content) != known:
        raise UserError(f"{path} is damaged, or of another run than {record.name}{again}")
    try:
        tensors: dict[str, NDArray[Any]] = load(content)
        about = _about(content)
    except (SafetensorError, msgspec.MsgspecError, KeyError, ValueError) as error:
        raise UserError(f"{path} holds no outcomes ({error}){again}") from None
    if about.sha256 != test.sha256 or about.images != test.images:
        raise UserError(f"{path} is of other test images than {record.name} says{again}")
    for name, array in tensors.items():
        if name.rpartition(".")[2] == "halves":
            if array.ndim != 2 or array.shape[1] != 2 * SPLITS:
                raise UserError(f"{path}: {name} is not of {2 * SPLITS} halves{again}")
        elif array.shape[-2 if array.ndim == 3 else 0] != test.images:
            raise UserError(f"{path}: {name} is not of {test.images} images{again}")
    return tensors


def fingerprint(content: bytes) -> str:
    """blake2b of a file's bytes, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=32).hexdigest()


def _about(content: bytes) -> About:
    """The file's own word: its header is JSON behind eight bytes of length."""
    length = int.from_bytes(content[:8], "little")
    header = msgspec.json.decode(content[8 : 8 + length], type=dict[str, Any])
    return msgspec.json.decode(header["__metadata__"]["about"], type=About)


def _whole(array: "NDArray[Any]") -> "NDArray[Any]":
    import numpy as np

    return np.ascontiguousarray(array)

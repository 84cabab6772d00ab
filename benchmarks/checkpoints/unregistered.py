"""A checkpoint file that is not registered: its card in memory, and the name that it goes by."""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks import results
from benchmarks.checkpoints.cards import Card, is_registered, read_card
from slurm.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.checkpoints.reading import Imported

# What the reader of files advises: flags of `registry add`, which no benchmark has.
_ADVICE = re.compile(r"(?:give|choose one by|choose one, such as) (--[a-z]+)(?: ([\w./:+-]+))?")
_FLAG = re.compile(r"(--(?:arch|which|prefix|drop))\b()")


def file_card(zoo: Path, path: Path) -> "tuple[Card, dict[str, Tensor]]":
    """A card in memory for a file that is not registered, named after it; and its tensors."""
    from benchmarks.checkpoints.weights import fingerprint

    found = _read(path)
    weights = fingerprint(found.tensors)
    name = safe_name(path.absolute())
    card = Card(
        name=name,
        arch=found.arch,
        sobel=found.sobel,
        weights=weights,
        mean=found.mean,
        std=found.std,
        source=str(path),
        format=found.format,
        notes=found.notes,
    )
    if is_registered(zoo, name) and read_card(zoo, name).measured != card.measured:
        same = read_card(zoo, name).weights == weights  # but other pixels, or another network
        key = results.key_of(card.measured)[:8] if same else weights[:8]
        card = msgspec.structs.replace(card, name=f"{name[:100]}-{key}")
    return card, found.tensors


def safe_name(path: Path) -> str:
    """The file's stem (without .pth.tar and the like), fit to be a checkpoint name.

    The weights of a zoo are called after their folder.
    """
    path = path.parent if path.name == "weights.safetensors" else path
    stem = re.sub(r"(\.(pth|pt|tar|torch|ckpt|bin|safetensors))+$", "", path.name)
    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", stem).strip("._+-")[:128] or "checkpoint"
    return f"file-{name}"[:128] if name.startswith("random-") else name


def _read(path: Path) -> "Imported":
    from benchmarks.checkpoints.reading import read_checkpoint

    try:
        return read_checkpoint(path)
    except UserError as error:
        raise UserError(_with_command(path, str(error))) from None


def _with_command(path: Path, said: str) -> str:
    """The advice to give a flag, made the command that takes it."""

    def command(found: re.Match[str]) -> str:
        flag, value = found[1], found[2] or found[1][2:].upper()
        add = f"python -m benchmarks.registry add {shlex.quote(str(path))} --name NAME"
        what = "one" if found[0].startswith("choose") else "it"
        return f"register {what}: {add} {flag} {value}"

    text, times = _ADVICE.subn(command, said)
    other = _FLAG.search(said)
    return text if times or not other else f"{said}; {command(other)}"

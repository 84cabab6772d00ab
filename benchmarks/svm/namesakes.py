"""Whether the name of feature files is that of others already, of which no tables can be made."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.results import Checkpoint
from slurm.progress import say


class _Told(msgspec.Struct):
    """What any record says of what it measured."""

    checkpoint: Checkpoint
    settings: dict[str, Any]


def note_namesakes(results: Path, layers: Mapping[str, str]) -> None:
    """Say so when a record below `results`, the folder of a name, is of other features.

    `layers` maps each layer to the fingerprint of its files. Other layers of one network may share
    a name.
    """
    for path in sorted(results.glob("[!.]*/[!.]*.json")):
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            told = msgspec.json.decode(path.read_bytes(), type=_Told)
            if what := _unlike(told, layers):
                say(
                    f"note: {path} is {what} under the same name, {told.checkpoint.name}, and "
                    "no tables can be made of both: give these features another --name, or remove "
                    "that record if it is out of date"
                )


def _unlike(told: _Told, layers: Mapping[str, str]) -> str | None:
    """What a record is of, if not of these features."""
    measured = told.settings.get("features")
    if isinstance(measured, Mapping):
        unlike = [layer for layer in layers if measured.get(layer, layers[layer]) != layers[layer]]
        return f"of other features of {', '.join(unlike)}" if unlike else None
    # Builds before that noted one hash of all layers, which says nothing of a single one.
    return None if told.checkpoint.weights.startswith("features:") else "of a checkpoint"

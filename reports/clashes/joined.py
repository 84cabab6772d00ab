"""One record of several that measured other layers or k of one checkpoint, all else alike.

Their figures stand in one row, as if one command had measured all of them.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from benchmarks.results import LowShotLayer, LowShotRecord, Record, VocSvmRecord
from reports.clashes.alike import agree, conditions, shots_of

_KNOWN = ("precision", "solver", "device")  # must be said by both to be called alike
T = TypeVar("T")


def may_be_joined(first: Record, second: Record) -> bool:
    """Whether two records of one cell are of one kind that has layers, measured in one way."""
    layered = isinstance(first, VocSvmRecord | LowShotRecord) and type(first) is type(second)
    here, there = conditions(first), conditions(second)
    features = first.checkpoint.weights.startswith("features:")  # which no forward pass made here
    known = _KNOWN[1:] if features else _KNOWN
    same = all(here[name] and here[name] == there[name] for name in known)
    return layered and same and agree(first, second)


def join(first: Record, second: Record) -> Record:
    """`first` with what `second` has beside it; the outcomes are those of `first` alone."""
    more: dict[str, Any] = {}
    settings = dict(first.settings)
    if isinstance(first, VocSvmRecord) and isinstance(second, VocSvmRecord):
        layers = _in_order(second.layers | first.layers)
        best = max(layers, key=lambda layer: layers[layer].map)
        more = {"layers": layers, "best_layer": best}
    elif isinstance(first, LowShotRecord) and isinstance(second, LowShotRecord):
        more = {"layers": _low_shot_layers(first, second)}
        settings["shots"] = sorted(shots_of(first) | shots_of(second))
    for key in ("draws", "features"):
        here, there = first.settings.get(key), second.settings.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            settings[key] = {**there, **here}
    notes = tuple(dict.fromkeys((*first.notes, *second.notes)))
    return msgspec.structs.replace(first, settings=settings, notes=notes, **more)


def _low_shot_layers(first: LowShotRecord, second: LowShotRecord) -> dict[str, LowShotLayer]:
    layers = {}
    for name in (*second.layers, *first.layers):
        parts = [one.layers[name].shots for one in (second, first) if name in one.layers]
        shots = {k: shot for part in parts for k, shot in part.items()}
        layers[name] = LowShotLayer(dict(sorted(shots.items(), key=lambda item: int(item[0]))))
    return _in_order(layers)


def _in_order(layers: Mapping[str, T]) -> dict[str, T]:
    return {name: layers[name] for name in sorted(layers)}

"""One record of several that measured other layers, k or labels of one checkpoint, all else alike.

Their figures stand in one row, as if one command had measured all of them.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from benchmarks.logreg.record import LogregRecord
from benchmarks.results import LowShotLayer, LowShotRecord, Record, VocSvmRecord

NOTE = "figures joined of several records"
T = TypeVar("T")


def join(first: Record, second: Record, name: str) -> Record | None:
    """`first` with what `second`, the record called `name`, has beside it; None for other kinds.

    The outcomes are those of `first` alone.
    """
    more: dict[str, Any]
    if isinstance(first, VocSvmRecord) and isinstance(second, VocSvmRecord):
        layers = _in_order(second.layers | first.layers)
        best = max(layers, key=lambda layer: layers[layer].map)
        more = {"layers": layers, "best_layer": best}
    elif isinstance(first, LowShotRecord) and isinstance(second, LowShotRecord):
        more = {"layers": _low_shot_layers(first, second)}
    elif isinstance(first, LogregRecord) and isinstance(second, LogregRecord):
        more = {
            "shots": second.shots | first.shots,
            "fractions": second.fractions | first.fractions,
        }
    else:
        return None
    settings = dict(first.settings)
    for key in ("draws", "features"):
        here, there = first.settings.get(key), second.settings.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            settings[key] = {**there, **here}
    notes = dict.fromkeys((*first.notes, *second.notes, f"{NOTE}, {name} among them"))
    return msgspec.structs.replace(first, settings=settings, notes=tuple(notes), **more)


def _low_shot_layers(first: LowShotRecord, second: LowShotRecord) -> dict[str, LowShotLayer]:
    layers = {}
    for name in (*second.layers, *first.layers):
        parts = [one.layers[name].shots for one in (second, first) if name in one.layers]
        shots = {k: shot for part in parts for k, shot in part.items()}
        layers[name] = LowShotLayer(dict(sorted(shots.items(), key=lambda item: int(item[0]))))
    return _in_order(layers)


def _in_order(layers: Mapping[str, T]) -> dict[str, T]:
    return {name: layers[name] for name in sorted(layers)}

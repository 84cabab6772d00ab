"""Records of one name must be of one network."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.checkpoints.fit import what_differs
from benchmarks.results import Record
from slurm.errors import UserError

Kept = tuple[Path, Record]


def refuse_mixed_networks(found: Sequence[Kept]) -> None:
    """`UserError` with both paths where two records of one name are of two networks."""
    networks: dict[tuple[object, ...], list[Kept]] = {}
    for path, record in found:
        # A random trunk is another network for each seed; everything else is one network.
        seed = record.seed if record.checkpoint.weights.startswith("random:") else None
        networks.setdefault((record.checkpoint.name, seed), []).append((path, record))
    for items in networks.values():
        # The weights of feature files are a hash of all layers that were measured.
        whole = [item for item in items if not _files(item[1])] or items[:1]
        layers: dict[str, tuple[str, Path]] = {}
        for path, record in items:
            differs = what_differs(whole[0][1].checkpoint, record.checkpoint)
            by_layer = differs == "weights" and _files(whole[0][1])
            if differs and not by_layer:
                raise _mixed(whole[0][0], path, record, differs)
            for layer, mark in _files(record).items():
                known, other = layers.setdefault(layer, (mark, path))
                if known != mark:
                    raise _mixed(other, path, record, "weights")


def _files(record: Record) -> Mapping[str, str]:
    """Of features from files: the fingerprint of each layer's; empty in records of old builds."""
    files = record.settings.get("features")
    return files if isinstance(files, Mapping) else {}


def _mixed(first: Path, second: Path, record: Record, differs: str) -> UserError:
    named = ", or measure its features again under another --name" if _files(record) else ""
    return UserError(
        f"{first} and {second} are of different {differs} under the one name "
        f"{record.checkpoint.name}: remove the one that is out of date{named}"
    )

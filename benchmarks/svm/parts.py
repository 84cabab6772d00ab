"""The file that each part of an SVM benchmark leaves, and how parts become a record."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from benchmarks import results
from benchmarks.features.extraction import read_forward
from benchmarks.outcomes.files import outcomes_path, read_outcomes, write_outcomes
from benchmarks.results import Shot, Split, SvmLayer
from benchmarks.svm.source import Source
from slurm.progress import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.protocols import LowShotProtocol, SvmProtocol
    from benchmarks.svm.machine import Machine


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one part was made."""

    classes: tuple[str, ...]
    device: str
    threads: int
    started: str
    seconds: float
    notes: tuple[str, ...]
    outcomes: str | None = None  # fingerprint of the file beside it; see benchmarks.outcomes


class LayerPart(Part, frozen=True, kw_only=True):
    """One layer of `voc07_svm`."""

    layer: SvmLayer


class ShotPart(Part, frozen=True, kw_only=True):
    """One k of one layer of `voc07_low_shot_svm`."""

    shot: Shot
    draws: str  # official, or drawn here


class Run:
    """A part while it is computed: its machine, and what is known of it afterwards."""

    def __init__(self, machine: "Machine", clock: results.Clock) -> None:
        self.machine = machine
        self._clock = clock

    def fields(self, result: Path, test: Split) -> dict[str, Any]:
        """The fields of `Part`, once the work is done; the outcomes on `test` are written first."""
        import torch

        kept = self.machine.outcomes
        return {
            "classes": self.machine.data.classes,
            "device": self.machine.engine.device,
            "threads": torch.get_num_threads(),
            "started": self._clock.started,
            "seconds": self._clock.seconds(),
            "notes": tuple(self.machine.notes),
            "outcomes": write_outcomes(result, kept, test) if kept else None,
        }


@contextmanager
def running(
    source: Source, layer: str, protocol: "SvmProtocol | LowShotProtocol", name: str, total: int
) -> Iterator[Run]:
    """Open a layer, and show the progress of `total` problems with an ETA."""
    from benchmarks.svm.machine import Machine

    clock = results.Clock()
    data = source.read(layer)
    with progress(desc=name, total=total * len(data.classes), unit="fit") as bar:
        machine = Machine(
            data=data,
            solver=source.solver,
            epsilon=protocol.norm_epsilon,
            positive_weight=protocol.positive_weight,
            seed=source.seed,
            device=source.device,
            tick=bar.update,
        )
        yield Run(machine, clock)


P = TypeVar("P", bound=Part)


def is_part_done(path: Path, kind: type[P]) -> bool:
    """Whether a valid part lies at `path`, with its outcomes if it has any."""
    part = results.read_done(path, kind)
    return part is not None and (part.outcomes is None or outcomes_path(path).exists())


def joined(parts: Sequence[Part]) -> dict[str, Any]:
    """The fields of a record that its parts fill."""
    return {
        "device": parts[0].device,
        "threads": parts[0].threads,
        **results.environment(),
        "started": min(part.started for part in parts),
        "seconds": sum(part.seconds for part in parts),
    }


def gathered(record: Path, found: Mapping[str, tuple[Path, Part]], test: Split) -> str | None:
    """Write the outcomes of a record, those of its parts by name; their fingerprint.

    None when a part has none. `UserError` for a file of outcomes that was damaged since.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for name, (path, part) in found.items():
        if part.outcomes is None:
            return None
        for kind, array in read_outcomes(path, part.outcomes, test).items():
            tensors[kind if kind == "labels" else f"{name}.{kind}"] = array
    return write_outcomes(record, tensors, test)


def part_stem(name: str, *inputs: object) -> str:
    """The name of a part's file, without its ending: with a hash of all the part depends on."""
    return f"{name}-{results.key_of(*inputs)}"


def part_path(source: Source, benchmark: str, stem: str) -> Path:
    """Where a part lies: beside the records of its benchmark."""
    # One path at once: plans ask for tens of thousands.
    return Path(f"{source.folder}/{benchmark}/parts/{stem}.json")


def record_fields(
    source: Source, protocol: "SvmProtocol | LowShotProtocol", settings: dict[str, Any]
) -> dict[str, Any]:
    """The fields of a record that the source and the protocol fill."""
    stated = {
        **({"label_values": source.convention} if source.convention else {}),
        **({"decode": "fast"} if source.decode == "fast" else {}),
    }
    forward = read_forward(source.features) if source.convention is None else None
    return {
        "benchmark": protocol.benchmark,
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "variant": protocol.variant,
        "settings": settings | stated,
        "checkpoint": source.checkpoint,
        "data": source.data,
        "seed": source.seed,
        "precision": forward.precision if forward else None,
    }

"""The file that each part of an SVM benchmark leaves, and how parts become a record."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from benchmarks import results
from benchmarks.features.extraction import ExtractVoc, read_forward
from benchmarks.features.took import read_seconds
from benchmarks.outcomes.files import outcomes_path, read_outcomes, write_outcomes
from benchmarks.results import Shot, Split, SvmLayer
from benchmarks.svm.source import Source
from slurm.progress import Clock, progress

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
    device_name: str | None = None  # see results.Made
    gpu_bytes: int | None = None
    host_bytes: int | None = None


class LayerPart(Part, frozen=True, kw_only=True):
    """One layer of `voc07_svm`."""

    layer: SvmLayer


class ShotPart(Part, frozen=True, kw_only=True):
    """One k of one layer of `voc07_low_shot_svm`."""

    shot: Shot
    draws: str  # official, or drawn here


class Run:
    """A part while it is computed: its machine, and what is known of it afterwards."""

    def __init__(self, machine: "Machine", clock: Clock) -> None:
        self.machine = machine
        self._clock = clock

    def fields(self, result: Path, test: Split) -> dict[str, Any]:
        """The fields of `Part`, once the work is done; the outcomes on `test` are written first."""
        from benchmarks.devices import resolve_device, took
        from benchmarks.svm.solver.multiplying import threads_here

        kept, device = self.machine.outcomes, self.machine.engine.device
        memory = took(None if device == "cpu" else resolve_device(device))
        return {
            "classes": self.machine.data.classes,
            "device": device,
            "threads": threads_here(),
            "started": self._clock.started,
            "seconds": self._clock.seconds(),
            "notes": tuple(self.machine.notes),
            "outcomes": write_outcomes(result, kept, test) if kept else None,
            "device_name": memory.pop("device"),
            **memory,
        }


@contextmanager
def running(
    source: Source, layer: str, protocol: "SvmProtocol | LowShotProtocol", name: str, total: int
) -> Iterator[Run]:
    """Open a layer, and show the progress of `total` problems with an ETA."""
    from benchmarks.devices import begin_peak
    from benchmarks.svm.machine import Machine

    clock = Clock()
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
        begin_peak("cuda")
        yield Run(machine, clock)


P = TypeVar("P", bound=Part)


def is_part_done(path: str, kind: type[P]) -> bool:
    """Whether a valid part lies at `path`, with its outcomes if it has any."""
    part = results.read_done(path, kind)
    return part is not None and (part.outcomes is None or outcomes_path(Path(path)).exists())


def joined(source: Source, parts: Sequence[Part]) -> dict[str, Any]:
    """The fields of a record that its parts fill, of `source`."""
    return {
        "made": _made(source, parts),
        "device": parts[0].device,
        "threads": parts[0].threads,
        **results.environment(),
        "started": min(part.started for part in parts),
        "seconds": sum(part.seconds for part in parts),
    }


def _made(source: Source, parts: Sequence[Part]) -> results.Made:
    gpu, host = ([getattr(one, name) for one in parts] for name in ("gpu_bytes", "host_bytes"))
    took: dict[str, Any] = {
        "device": parts[0].device_name,
        "gpu_bytes": max((one for one in gpu if one is not None), default=None),
        "host_bytes": max((one for one in host if one is not None), default=None),
    }
    for item in source.needs:
        if isinstance(item, ExtractVoc):
            seconds = read_seconds(source.features)
            return results.Made(item.trunk.ckpt, str(item.data), extraction=seconds, **took)
    return results.Made(None, str(source.features), str(source.labels), **took)


def gathered(record: Path, found: Mapping[str, tuple[Path, Part]], test: Split) -> str | None:
    """Write the outcomes of a record, those of its parts by name; their fingerprint.

    Parts of earlier builds have none and are left out; None when no part has any. `UserError` for a
    file of outcomes that was damaged since.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for name, (path, part) in found.items():
        if part.outcomes is None:
            continue
        for kind, array in read_outcomes(path, part.outcomes, test).items():
            tensors[kind if kind == "labels" else f"{name}.{kind}"] = array
    return write_outcomes(record, tensors, test) if tensors else None


def part_stem(name: str, *inputs: object) -> str:
    """The name of a part's file, without its ending: with a hash of all the part depends on."""
    return f"{name}-{results.key_of(*inputs)}"


def part_path(source: Source, benchmark: str, stem: str) -> str:
    """Where a part lies: beside the records of its benchmark.

    As text: plans ask for tens of thousands, and a `Path` of each takes longer than to look there.
    """
    return f"{source.folder}/{benchmark}/parts/{stem}.json"


def notes_of(source: Source, parts: Mapping[str, Part]) -> tuple[str, ...]:
    """What a reader of the record must know: of the source, of its forward pass, and of its parts.

    `parts` by what stands before their notes.
    """
    forward = read_forward(source.features) if source.convention is None else None
    half = forward is not None and forward.precision == "amp"
    of_parts = (f"{name}: {note}" for name, part in parts.items() for note in part.notes)
    return (*source.all_notes(), *([results.HALF] if half else []), *of_parts)


def record_fields(
    source: Source, protocol: "SvmProtocol | LowShotProtocol", settings: dict[str, Any]
) -> dict[str, Any]:
    """The fields of a record that the source and the protocol fill."""
    stated = {
        **({"label_values": source.convention} if source.convention else {}),
        **({"decode": "fast"} if source.decode == "fast" else {}),
        # The checkpoint of feature files is called after those of the chosen layers.
        **({"features": source.files_by_layer} if source.convention else {}),
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

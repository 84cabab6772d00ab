"""The items of the low-shot SVMs: one for each layer and k, and one that makes the record."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks import results
from benchmarks.protocols import LowShotProtocol
from benchmarks.results import Split
from benchmarks.svm.parts import (
    ShotPart,
    gathered,
    is_part_done,
    joined,
    notes_of,
    part_path,
    part_stem,
    record_fields,
    running,
)
from benchmarks.svm.source import Source, trunk_source
from benchmarks.trunks import Trunk
from slurm.sweep import Item, Resources

if TYPE_CHECKING:
    from msgspec import Raw


@lru_cache(maxsize=64)
def _one_shot(protocol: LowShotProtocol, k: int) -> "Raw":
    """The protocol as one part of it sees it, so that a part does not depend on the others."""
    return results.spelled(replace(protocol, shots=(k,)))


@dataclass(frozen=True)
class LowShot:
    """All draws and costs of one k on one layer."""

    source: Source
    protocol: LowShotProtocol
    layer: str
    k: int
    draws: str | None = None  # fingerprint of the official label files, if there are any

    stage: ClassVar[str] = "low_shot_svm"

    @property
    def needs(self) -> tuple[Item, ...]:
        """The extraction, if there is one."""
        return self.source.needs

    @property
    def shares(self) -> str:
        """The engine of the layer, with its Gram matrices."""
        return self.source.engine_of(self.layer)

    @cached_property
    def stem(self) -> str:
        """The name of the part's file, without its ending."""
        inputs = (self.draws, self.source.spelled_inputs[self.layer])
        return part_stem(f"{self.layer}-k{self.k}", _one_shot(self.protocol, self.k), *inputs)

    @property
    def result(self) -> Path:
        """The part file."""
        return Path(part_path(self.source, self.protocol.benchmark, self.stem))

    @cached_property
    def key(self) -> str:
        """Name of the item."""
        name = self.source.checkpoint.name
        return f"{name}/{self.protocol.benchmark}/{self.protocol.name}/{self.stem}"

    @property
    def resources(self) -> Resources:
        """Cores alone, on which they are solved, unless a GPU is asked for."""
        return Resources(gpus=int(self.source.device == "cuda"))

    def done(self) -> bool:
        """Whether the part is there and valid."""
        path = part_path(self.source, self.protocol.benchmark, self.stem)
        return is_part_done(path, ShotPart)

    def run(self) -> None:
        """Draw (or read the draws), fit, test, and write the part."""
        from benchmarks.svm.draws import read_or_draw
        from benchmarks.svm.evaluation import evaluate_low_shot
        from benchmarks.svm.planned import planned_folder

        source, protocol = self.source, self.protocol
        name = f"{source.checkpoint.name} low-shot {self.layer} k={self.k}"
        total = protocol.samples * len(protocol.costs)
        with running(source, self.layer, protocol, name, total) as work:
            data = work.machine.data
            negatives = protocol.negatives_per_positive
            drawn = results.key_of(source.splits[0], source.seed, negatives)
            targets = read_or_draw(
                planned_folder(source.labels, self.draws, protocol.samples, self.k),
                source.zoo / "low_shot" / drawn,
                data.train_labels,
                data.classes,
                protocol.samples,
                self.k,
                negatives,
                source.seed,
                source.convention or "fair",
            )
            shot = evaluate_low_shot(work.machine, protocol, targets, source.splits[1].sha256)
            draws = f"official:{self.draws}" if self.draws else f"seed {source.seed}"
            fields = work.fields(self.result, source.splits[1])
            results.write(self.result, ShotPart(shot=shot, draws=draws, **fields))


@dataclass(frozen=True)
class VocLowShot:
    """The record of all layers and k of a source."""

    source: Source
    protocol: LowShotProtocol

    stage: ClassVar[str] = "collect"
    resources: ClassVar[Resources] = Resources(minutes=10)

    @cached_property
    def needs(self) -> tuple[LowShot, ...]:
        """A part a layer and k."""
        draws = _official_draws(self.source, self.protocol)
        return tuple(
            LowShot(self.source, self.protocol, layer, k, draws[k])
            for layer in self.source.layers
            for k in self.protocol.shots
        )

    @property
    def measured_on(self) -> dict[str, Split]:
        """The fingerprints of the data by split."""
        return self.source.data

    @cached_property
    def result(self) -> Path:
        """The record."""
        parts = [part.stem for part in self.needs]
        name = f"{self.protocol.name}-{results.key_of(self.protocol, parts)}.json"
        return self.source.folder / self.protocol.benchmark / name

    @cached_property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.source.checkpoint.name}/{self.protocol.benchmark}/{self.result.stem}"

    def done(self) -> bool:
        """Whether the record is there and valid."""
        return results.is_done(self.result, results.LowShotRecord)

    def run(self) -> None:
        """Read the parts and write the record."""
        import msgspec

        parts = {item: results.read(item.result, ShotPart) for item in self.needs}
        layers: dict[str, dict[str, results.Shot]] = {}
        for item, part in parts.items():
            layers.setdefault(item.layer, {})[str(item.k)] = part.shot
        # Of every layer: a table shows the one that is the best of another record, the full SVM's.
        of_parts = {f"{item.layer}.k={item.k}": (item.result, part) for item, part in parts.items()}
        settings = msgspec.to_builtins(self.protocol) | {
            "solver": self.source.solver,
            "draws": {str(item.k): part.draws for item, part in parts.items()},
        }
        record = results.LowShotRecord(
            **record_fields(self.source, self.protocol, settings),
            **joined(self.source, list(parts.values())),
            outcomes=gathered(self.result, of_parts, self.source.splits[1]),
            notes=notes_of(
                self.source, {f"{item.layer} k={item.k}": part for item, part in parts.items()}
            ),
            layers={name: results.LowShotLayer(shots) for name, shots in layers.items()},
            selection=self.protocol.selection,
        )
        results.write(self.result, record)


def low_shot_item(trunk: Trunk, data: Path, protocol: LowShotProtocol) -> VocLowShot:
    """The benchmark of a trunk on VOC2007 at `data`; `UserError` when that cannot be read."""
    return VocLowShot(trunk_source(trunk, data, protocol), protocol)


def _official_draws(source: Source, protocol: LowShotProtocol) -> dict[int, str | None]:
    """The fingerprint of the official draws of each k; None when the labels have none.

    `UserError` for a draw that is missing, or is none of these labels.
    """
    from benchmarks.features.files import fingerprint
    from benchmarks.features.labels import read_classes, read_labels
    from benchmarks.svm.draws import draws_path, official_folder, read_official

    folder = None if source.needs else official_folder(source.labels)
    if folder is None:
        return dict.fromkeys(protocol.shots)
    convention = source.convention or "fair"
    labels = read_labels(source.labels, "trainval", convention)
    classes = read_classes(source.labels, labels.shape[1])
    samples = range(1, protocol.samples + 1)
    for k in protocol.shots:
        for sample in samples:
            negatives = protocol.negatives_per_positive
            read_official(folder, labels, classes, sample, k, negatives, convention)
    return {k: fingerprint(*(draws_path(folder, s, k) for s in samples)) for k in protocol.shots}

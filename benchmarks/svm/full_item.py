"""The items of the full SVM protocol: one for each layer, and one that makes the record."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from benchmarks import results
from benchmarks.protocols import SvmProtocol
from benchmarks.results import Split
from benchmarks.svm.parts import (
    LayerPart,
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


@dataclass(frozen=True)
class VocSvmLayer:
    """The full protocol on one layer."""

    source: Source
    protocol: SvmProtocol
    layer: str

    stage: ClassVar[str] = "voc_svm"

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
        return part_stem(self.layer, self.protocol, self.source.inputs(self.layer))

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
        return is_part_done(path, LayerPart)

    def run(self) -> None:
        """Fit, select, test, and write the part."""
        from benchmarks.svm.evaluation import evaluate_full

        name = f"{self.source.checkpoint.name} SVM {self.layer}"
        total = self.protocol.folds * len(self.protocol.costs) + 1
        with running(self.source, self.layer, self.protocol, name, total) as work:
            layer = evaluate_full(work.machine, self.protocol)
            fields = work.fields(self.result, self.source.splits[1])
            results.write(self.result, LayerPart(layer=layer, **fields))


@dataclass(frozen=True)
class VocSvm:
    """The record of all layers of a source."""

    source: Source
    protocol: SvmProtocol

    stage: ClassVar[str] = "collect"
    resources: ClassVar[Resources] = Resources(minutes=10)

    @cached_property
    def needs(self) -> tuple[VocSvmLayer, ...]:
        """A part a layer."""
        return tuple(VocSvmLayer(self.source, self.protocol, x) for x in self.source.layers)

    @property
    def measured_on(self) -> dict[str, Split]:
        """The fingerprints of the data by split."""
        return self.source.data

    @cached_property
    def result(self) -> Path:
        """The record."""
        inputs = [self.source.inputs(layer) for layer in self.source.layers]
        name = f"{self.protocol.name}-{results.key_of(self.protocol, inputs)}.json"
        return self.source.folder / self.protocol.benchmark / name

    @cached_property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.source.checkpoint.name}/{self.protocol.benchmark}/{self.result.stem}"

    def done(self) -> bool:
        """Whether the record is there and valid."""
        return results.is_done(self.result, results.VocSvmRecord)

    def run(self) -> None:
        """Read the parts and write the record."""
        import msgspec

        parts = {item.layer: results.read(item.result, LayerPart) for item in self.needs}
        of_parts = {item.layer: (item.result, parts[item.layer]) for item in self.needs}
        settings = msgspec.to_builtins(self.protocol) | {"solver": self.source.solver}
        record = results.VocSvmRecord(
            **record_fields(self.source, self.protocol, settings),
            **joined(self.source, list(parts.values())),
            outcomes=gathered(self.result, of_parts, self.source.splits[1]),
            notes=notes_of(self.source, parts),
            classes=next(iter(parts.values())).classes,
            layers={layer: part.layer for layer, part in parts.items()},
            # The first of equals; published tables take the best layer, chosen on test.
            best_layer=max(parts, key=lambda layer: parts[layer].layer.map),
        )
        results.write(self.result, record)


def voc_svm_item(trunk: Trunk, data: Path, protocol: SvmProtocol) -> VocSvm:
    """The benchmark of a trunk on VOC2007 at `data`; `UserError` when that cannot be read."""
    return VocSvm(trunk_source(trunk, data, protocol), protocol)

"""The item of k-NN: from the cached features of a checkpoint to its record."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from benchmarks import results
from benchmarks.features.avgpool import ExtractAvgpool, ExtractTogether, OnFeatures, avgpool_item
from benchmarks.knn.record import Accuracy, KnnRecord
from benchmarks.protocols import KnnProtocol
from benchmarks.trunks import Trunk
from slurm.errors import UserError
from slurm.progress import Clock
from slurm.sweep import Resources


@dataclass(frozen=True)
class Knn(OnFeatures):
    """Find the neighbours of every val image among the train images, and count their votes."""

    extraction: ExtractAvgpool
    protocol: KnnProtocol
    shared: ExtractTogether | None = None  # the pass that extracts those of other checkpoints too

    stage: ClassVar[str] = "knn"

    @cached_property
    def result(self) -> Path:
        """The record."""
        name = self.trunk.checkpoint.name
        # The seed changes nothing but a random trunk, which `inputs` knows by its weights.
        inputs = (self.trunk.inputs(), self.trunk.seed, self.protocol, self.extraction.splits)
        file = f"{self.protocol.name}-{results.key_of(*inputs)}.json"
        return self.trunk.zoo / "results" / name / self.protocol.benchmark / file

    @property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.trunk.checkpoint.name}/{self.protocol.benchmark}/{self.result.stem}"

    @property
    def resources(self) -> Resources:
        """One GPU where there is one."""
        return Resources(gpus=int(self.trunk.device != "cpu"))

    def done(self) -> bool:
        """Whether the record is there and valid."""
        return results.is_done(self.result, KnnRecord)

    def run(self) -> None:
        """Find, vote, and write the record."""
        import torch

        from benchmarks.devices import resolve_device
        from benchmarks.features.provenance import record_fields, stored_ranks
        from benchmarks.knn.neighbours import nearest
        from benchmarks.knn.twins import count_twins, twins_note
        from benchmarks.knn.votes import percent, vote_ranks
        from benchmarks.outcomes.files import write_outcomes
        from slurm.progress import progress

        clock = Clock()
        protocol = self.protocol
        features = self.extraction.read()
        device = resolve_device(self.trunk.device)
        with progress(desc=self.key, total=len(features.train), unit="row") as bar:
            near = nearest(features.train, features.val, max(protocol.ks), device, bar.update)
        labels = torch.from_numpy(features.train_labels).to(device)
        truth = torch.from_numpy(features.val_labels)
        classes = len(features.classes)
        grid = {
            temperature: vote_ranks(near, labels, truth, classes, protocol.ks, temperature)
            for temperature in dict.fromkeys((*protocol.temperatures, protocol.temperature))
        }
        chosen = grid[protocol.temperature]
        ranks = {str(k): stored_ranks(chosen[k]) for k in protocol.ks}
        kept = {f"{k}.rank": one for k, one in ranks.items()}
        twins = count_twins(features.train, features.val, near)
        fields = record_fields(self.extraction, protocol, device)
        notes = (*fields.pop("notes"), *twins_note(twins, len(truth)))
        record = KnnRecord(
            **fields,
            notes=notes,
            started=clock.started,
            seconds=clock.seconds(),
            outcomes=write_outcomes(self.result, kept, self.extraction.splits[1]),
            k={str(k): Accuracy(percent(chosen[k], 1), percent(chosen[k], 5)) for k in protocol.ks},
            temperature=protocol.temperature,
            grid={
                repr(temperature): {str(k): percent(found[k], 1) for k in protocol.ks}
                for temperature, found in sorted(grid.items())
            },
            dimensions=features.train.shape[1],
        )
        results.write(self.result, record)


def knn_item(trunk: Trunk, data: Path, protocol: KnnProtocol) -> Knn:
    """The k-NN of `trunk` by `protocol`; `UserError` when it cannot be measured on the data."""
    extraction = avgpool_item(
        trunk, data, protocol.dataset, protocol.image, protocol.dtype, protocol.feature
    )
    images = extraction.splits[0].images
    most = max(protocol.ks, default=0)
    if not protocol.ks or not min(protocol.ks) > 0:
        raise UserError(f"{protocol.name} has no k: choose some with --k, as in --k 10,20")
    if not min((protocol.temperature, *protocol.temperatures)) > 0:
        raise UserError(f"{protocol.name}: a temperature must be above 0")
    if most > images:
        raise UserError(
            f"k = {most} is more than the {images:,} training images in {data}: choose smaller "
            "ones, by --k 5,10 (in a suite --set ks=5,10)"
        )
    return Knn(extraction, protocol)

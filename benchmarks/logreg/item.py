"""The item of logistic regression: from the cached features of a checkpoint to its record."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks import results
from benchmarks.datasets.loading import load_dataset
from benchmarks.features.avgpool import ExtractAvgpool, ExtractTogether, OnFeatures, avgpool_item
from benchmarks.logreg.record import LogregRecord, percent_name
from benchmarks.protocols import LogregProtocol
from benchmarks.trunks import Trunk
from slurm.errors import UserError
from slurm.progress import Clock
from slurm.sweep import Resources

if TYPE_CHECKING:
    from benchmarks.logreg.draws import Rows
    from benchmarks.logreg.record import FewLabels


@dataclass(frozen=True)
class Logreg(OnFeatures):
    """Fit the path of costs and the few-label rows, and write the record."""

    extraction: ExtractAvgpool
    protocol: LogregProtocol
    lists: tuple[str, ...] = ()  # fingerprints of the public lists that are used
    shared: ExtractTogether | None = None  # the pass that extracts those of other checkpoints too

    stage: ClassVar[str] = "logreg"

    @cached_property
    def result(self) -> Path:
        """The record."""
        inputs = (self.trunk.inputs(), self.trunk.seed, self.protocol, self.extraction.splits)
        key = results.key_of(*inputs, *([self.lists] if self.lists else []))
        folder = self.trunk.zoo / "results" / self.trunk.checkpoint.name / self.protocol.benchmark
        return folder / f"{self.protocol.name}-{key}.json"

    @property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.trunk.checkpoint.name}/{self.protocol.benchmark}/{self.result.stem}"

    @property
    def resources(self) -> Resources:
        """One GPU where there is one."""
        return Resources(gpus=int(self.trunk.device != "cpu"), minutes=720)

    def done(self) -> bool:
        """Whether the record is there and valid."""
        return results.is_done(self.result, LogregRecord)

    def run(self) -> None:
        """Select, refit, fit the few-label rows, and write the record."""
        from benchmarks.devices import resolve_device
        from benchmarks.features.provenance import record_fields, stored_ranks
        from benchmarks.knn.votes import percent
        from benchmarks.logreg.draws import split_off
        from benchmarks.logreg.evaluation import Evaluation
        from benchmarks.outcomes.files import write_outcomes
        from slurm.progress import progress

        clock = Clock()
        protocol, costs = self.protocol, self.protocol.costs
        features = self.extraction.read()
        device = resolve_device(self.trunk.device)
        fitted, held_out = split_off(len(features.train), protocol.held_out, self.trunk.seed)
        zscore = protocol.standardise == "zscore"
        evaluation = Evaluation(features, fitted, held_out, zscore=zscore, device=device)
        few = list(few_label_draws(self, fitted, features.train_labels))
        fits = len(costs) * (2 + sum(len(draws) for _, _, _, draws in few))
        with progress(desc=self.key, total=fits, unit="fit") as bar:
            chosen = evaluation.choose(costs, bar.update)
            rows: dict[str, dict[str, FewLabels]] = {"shots": {}, "fractions": {}}
            for kind, name, source, draws in few:
                rows[kind][name] = evaluation.few(draws, costs, source, bar.update)
        fields = record_fields(self.extraction, protocol, device)
        unsolved = {"": chosen.unsolved, " on few labels": sorted(evaluation.few_unsolved)}
        for what, at in unsolved.items():
            if at:
                shown = ", ".join(f"{cost:g}" for cost in at[:5])
                fields["notes"] += (
                    f"not solved to its minimum{what}, as far as rounding lets it be told, at C = "
                    f"{shown}",
                )
        kept = {"logreg.rank": stored_ranks(chosen.ranks)}
        record = LogregRecord(
            **fields,
            started=clock.started,
            seconds=clock.seconds(),
            outcomes=write_outcomes(self.result, kept, self.extraction.splits[1]),
            top1=chosen.path[chosen.best].top1,
            top5=percent(chosen.ranks, 5),
            cost=chosen.path[chosen.best].cost,
            path=chosen.path,
            held_out=len(held_out),
            shots=rows["shots"],
            fractions=rows["fractions"],
            dimensions=features.train.shape[1],
        )
        results.write(self.result, record)


def few_label_draws(
    item: Logreg, fitted: "Rows", labels: "Rows"
) -> "Iterator[tuple[str, str, str, list[Rows]]]":
    """Of each few-label row: shots or fractions, its name, its source, and its draws."""
    import numpy as np

    from benchmarks.logreg.draws import draw, labels_per_class, list_of, listed_rows

    protocol, seed = item.protocol, item.trunk.seed
    images = load_dataset(item.extraction.dataset, item.extraction.data).splits["train"]
    present = np.bincount(labels, minlength=len(images.classes)) > 0

    def draws(wanted: list[int]) -> "list[Rows]":
        return [
            draw(labels, fitted, wanted, seed, number, images.classes)
            for number in range(protocol.samples)
        ]

    for k in protocol.per_class:
        yield "shots", str(k), "drawn", draws([k * int(there) for there in present])
    for fraction in protocol.fractions:
        path = list_of(item.extraction.data, fraction)
        if path is not None:  # read whole, though a tenth of it is held out of the other fits
            yield "fractions", repr(fraction), path.name, [listed_rows(path, images)]
        else:
            yield (
                "fractions",
                repr(fraction),
                "drawn",
                draws(labels_per_class(labels, fitted, fraction)),
            )


def logreg_item(trunk: Trunk, data: Path, protocol: LogregProtocol) -> Logreg:
    """The logistic regression of `trunk` by `protocol`; `UserError` when it cannot be measured."""
    import numpy as np

    from benchmarks.features.files import fingerprint
    from benchmarks.logreg.draws import list_of, split_off

    extraction = avgpool_item(
        trunk, data, protocol.dataset, protocol.image, protocol.dtype, protocol.feature
    )
    _check(protocol)
    lists = [list_of(data, fraction) for fraction in protocol.fractions]
    found = tuple(fingerprint(path) for path in lists if path is not None)
    item = Logreg(extraction, protocol, found)
    labels = load_dataset(protocol.dataset, data).splits["train"].labels.astype("int64")
    fitted, held_out = split_off(len(labels), protocol.held_out, trunk.seed)
    if not len(held_out) or not len(fitted):
        raise UserError(
            f"a part of {protocol.held_out:g} of {len(labels)} training images leaves none to fit "
            "or none to select by: take more data, or another --set held_out"
        )
    for _, name, source, draws in few_label_draws(item, fitted, labels):
        if any(np.isin(held_out, rows).all() for rows in draws):
            raise UserError(
                f"{source} names all {len(held_out)} images that are held out to choose the cost "
                f"of {name} by: another --seed or --set held_out holds out others"
            )
    return item


def _check(protocol: LogregProtocol) -> None:
    """`UserError` for numbers that no fit can have."""
    costs = protocol.costs
    sound = all(math.isfinite(cost) and cost > 0 for cost in costs)
    if not costs or not sound or list(costs) != sorted(set(costs)):
        raise UserError(
            f"{protocol.name}: costs must be above 0 and ascending, each once: choose --costs "
            "such as 0.01,1,100"
        )
    if not 0 < protocol.held_out < 1:
        raise UserError(f"{protocol.name}: held_out is a part of train, between 0 and 1")
    if any(not 0 < fraction <= 1 for fraction in protocol.fractions):
        raise UserError(f"{protocol.name}: a fraction of the labels is between 0 and 1")
    columns = [percent_name(fraction) for fraction in protocol.fractions]
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise UserError(f"{protocol.name}: two fractions are {twice[0]} of the labels: keep one")
    if any(k < 1 for k in protocol.per_class) or protocol.samples < 1:
        raise UserError(f"{protocol.name}: shots and draws are whole numbers from 1")

"""What a benchmark is, whole: its protocols, its item, its record, and its place in the tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as Interface

from benchmarks.protocols import (
    KnnProtocol,
    LinearProtocol,
    LogregProtocol,
    LowShotProtocol,
    Protocol,
    SvmProtocol,
)
from benchmarks.results import Record, Split
from benchmarks.trunks import Trunk
from slurm.sweep import Item


class Goal(Item, Interface):
    """An item that leaves a result record."""

    @property
    def protocol(self) -> Protocol:
        """By which it measures."""

    @property
    def measured_on(self) -> dict[str, Split]:
        """The fingerprints of the data by split, as the record has them."""

    @property
    def result(self) -> Path:
        """The record."""


@dataclass(frozen=True)
class ZooTable:
    """A table of the zoo, which several benchmarks may share."""

    key: str  # its name in markers and exports
    title: str  # its heading
    # columns: each benchmark's figures by column, top-1. best layer: the mAP of an SVM at the best
    # layer, and of low-shot SVMs at the same.
    layout: Literal["columns", "best layer"] = "columns"
    decimals: int = 2  # of its figures


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark; every field must be said, so that none is forgotten."""

    name: str  # in records, in folders of results, and for --only
    dataset: str  # a key of datasets.catalog.DATASETS
    protocols: tuple[Protocol, ...]  # each of this benchmark and dataset; the default first
    item: Callable[[Trunk, Path, Any], Goal]  # from a trunk, the dataset's folder and a protocol
    record: type[Record]  # what the item leaves
    table: ZooTable
    columns: tuple[str, ...]  # of its table
    figures: Callable[[Any], Mapping[str, float]] | None  # of a record, by column; None: best layer
    part: str  # what footnotes call these columns


# The items of the benchmarks, whose modules are imported when one is planned: every --help reads
# the catalog, and none needs them.


def probe_item(trunk: Trunk, data: Path, protocol: LinearProtocol) -> Goal:
    """A linear probe."""
    from benchmarks.probes import item

    return item.probe_item(trunk, data, protocol)


def voc_svm_item(trunk: Trunk, data: Path, protocol: SvmProtocol) -> Goal:
    """The full SVM protocol."""
    from benchmarks.svm import full_item

    return full_item.voc_svm_item(trunk, data, protocol)


def low_shot_item(trunk: Trunk, data: Path, protocol: LowShotProtocol) -> Goal:
    """The low-shot SVMs."""
    from benchmarks.svm import low_shot_item as items

    return items.low_shot_item(trunk, data, protocol)


def knn_item(trunk: Trunk, data: Path, protocol: KnnProtocol) -> Goal:
    """Nearest neighbours."""
    from benchmarks.knn import item

    return item.knn_item(trunk, data, protocol)


def logreg_item(trunk: Trunk, data: Path, protocol: LogregProtocol) -> Goal:
    """Logistic regression."""
    from benchmarks.logreg import item

    return item.logreg_item(trunk, data, protocol)

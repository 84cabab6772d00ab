"""The result record of k-NN."""

import msgspec

from benchmarks.results import Record


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Percent of val."""

    top1: float
    top5: float


class KnnRecord(Record, frozen=True, kw_only=True):
    """Result of `imagenet_knn`."""

    k: dict[str, Accuracy]  # by the number of neighbours, at `temperature`
    temperature: float
    grid: dict[str, dict[str, float]]  # temperature -> k -> top-1
    dimensions: int  # of the features


def top1_by_k(record: KnnRecord) -> dict[str, float]:
    """Top-1 (%) by column: k=10, k=20, ..."""
    return {f"k={k}": figure.top1 for k, figure in record.k.items()}

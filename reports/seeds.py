"""Whether a figure could have been another one by another seed."""

from benchmarks.knn.record import KnnRecord
from benchmarks.logreg.record import LogregRecord
from benchmarks.results import LowShotRecord, ProbeRecord, Record


def is_random(record: Record) -> bool:
    """Whether the trunk was drawn by the seed."""
    return record.checkpoint.weights.startswith("random:")


def seed_matters(record: Record) -> bool:
    """Whether another seed could have given another figure.

    The exact SVMs have one solution, k-NN has none to find; low-shot draws, the held-out part of
    logistic regression and random trunks come from the seed.
    """
    if isinstance(record, ProbeRecord | LogregRecord) or is_random(record):
        return True
    if isinstance(record, KnnRecord):
        return False
    if record.settings.get("solver") != "gram":
        return True
    draws = record.settings.get("draws")
    official = isinstance(draws, dict) and all(
        str(x).startswith("official:") for x in draws.values()
    )
    return isinstance(record, LowShotRecord) and not official

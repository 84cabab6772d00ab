"""Whether every class has the images that a protocol needs, from the labels alone.

Asked when a benchmark is planned, which can be hours before its features are extracted. Labels are
images x classes: 1 present, 0 absent, -1 ignore.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets.loading import load_dataset
from benchmarks.protocols import LowShotProtocol, SvmProtocol
from slurm.errors import UserError

Labels = NDArray[np.int8]


@lru_cache(maxsize=64)
def require_classes(data: Path, protocol: SvmProtocol | LowShotProtocol) -> tuple[str, ...]:
    """The classes of the data, counted once a process; `UserError` as `check_classes`."""
    images = load_dataset(protocol.dataset, data).splits
    train, test = (np.asarray(images[split].labels, np.int8) for split in ("trainval", "test"))
    classes = images["trainval"].classes
    check_classes(train, test, classes, protocol)
    return classes


@contextmanager
def said_of(name: str, protocol: SvmProtocol | LowShotProtocol) -> Iterator[None]:
    """Name the checkpoint and the benchmark in the `UserError` of a block."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{name} {protocol.benchmark}: {error}") from None


def check_classes(
    train: Labels,
    test: Labels,
    classes: tuple[str, ...],
    protocol: SvmProtocol | LowShotProtocol,
    *,
    drawn: bool = True,
) -> None:
    """Raise `UserError` for the first class that is too small.

    Without `drawn` the draws of low-shot training are given: trainval need not be rich enough for
    new ones.
    """
    if isinstance(protocol, SvmProtocol):
        _check_folds(train, classes, protocol.folds)
    elif drawn:
        for k in sorted(protocol.shots):
            check_draw(train, classes, k, protocol.negatives_per_positive)
    check_test(test, classes)


def check_draw(train: Labels, classes: tuple[str, ...], k: int, negatives: int) -> None:
    """Raise `UserError` unless k positives and k * `negatives` negatives can be drawn."""
    most = min(int((train == 1).sum(0).min()), int((train == 0).sum(0).min()) // negatives)
    way = f"choose smaller --shots, at most {most} on these images"
    if most == 0:
        way = "even for one there are too few; leave low-shot SVMs out"
    for value, kind, wanted in ((1, "positives", k), (0, "negatives", k * negatives)):
        for name, found in zip(classes, (train == value).sum(0).tolist()):
            if found < wanted:
                raise UserError(
                    f"class {name} has {found} {kind} in trainval, k={k} needs {wanted}: {way}"
                )


def check_test(test: Labels, classes: tuple[str, ...]) -> None:
    """Raise `UserError` for a class without an AP, or whose AP is 100 whatever the features."""
    for name, labels in zip(classes, test.T):
        if not (labels == 1).any():
            raise UserError(f"class {name} has no positives in test, so it has no AP")
        if not (labels == 0).any():
            raise UserError(
                f"class {name} has no negatives in test, so its AP would be 100 whatever the "
                "features: check the labels"
            )


def _check_folds(train: Labels, classes: tuple[str, ...], folds: int) -> None:
    for name, labels in zip(classes, train.T):
        if not (labels == 0).any():
            raise UserError(f"class {name} has no negatives in trainval: check the labels")
        positive = int((labels == 1).sum())
        for kind, found in (("positives", positive), ("negatives", len(labels) - positive)):
            if found < folds:
                raise UserError(
                    f"class {name} has {found} {kind} in trainval; "
                    f"{folds} stratified folds need at least {folds}"
                )

"""Logistic regression: the least that it can take, by the time of one step on some rows.

A fit takes at least one step of Newton's: the objective at its start and at its end, and one
product with the Hessian, whose times are on a line in the rows. How many steps and products it
takes depends on the features and grows with the cost, so that no part of a path tells the rest.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from benchmarks.datasets.loading import load_dataset
from benchmarks.devices import resolve_device
from benchmarks.logreg.draws import split_off
from benchmarks.logreg.item import Logreg, few_label_draws
from benchmarks.logreg.path import RENEWED
from benchmarks.logreg.precondition import Basis, Preconditioner
from benchmarks.logreg.problem import Model, Problem, Standard, logits
from benchmarks.metrics import true_ranks
from benchmarks.rehearsal.features import Rows, Source
from benchmarks.rehearsal.report import GIB, Row
from benchmarks.rehearsal.watch import Watch, begin_item, gpu_gib

ROWS = 2048  # that are measured first, and then twice as many, as long as there is time
FLOAT32 = 4  # bytes

T = TypeVar("T")


class _Steps:
    """Seconds of one step, and of scoring, by the number of rows that were measured."""

    def __init__(self) -> None:
        self.step: dict[int, float] = {}
        self.score: dict[int, float] = {}
        self.whole = 0.0  # of a fit on so many rows as were measured last, once for all its costs
        self.renewed = 0.0  # of a preconditioner

    def measure(self, features: Rows, classes: int, cost: float, device: torch.device) -> None:
        """On all of `features`, with labels of all classes: no time depends on which."""
        rows = torch.from_numpy(features.astype(np.float32)).to(device)
        labels = torch.arange(len(rows), device=device) % classes
        problem = Problem(rows, labels, classes, Standard.none(rows.shape[1], device))
        zero = problem.zero()
        point, at = _timed(lambda: problem.at(zero, cost), device)
        gradient = point.gradient
        _, product = _timed(lambda: problem.curvature(point, cost, gradient), device)
        basis, self.whole = _timed(lambda: Basis.of(problem), device)
        _, self.renewed = _timed(lambda: Preconditioner(basis, point, cost), device)
        _, self.score[len(rows)] = _timed(lambda: _score(zero, rows, labels), device)
        self.step[len(rows)] = 2 * at + product


def logreg_row(item: Logreg, seconds: float, sample: Rows | None, folder: Path) -> Row:
    """Measure `item`; without a `sample` of its features on those that are on disk."""
    device = resolve_device(item.trunk.device)
    begin_item(device)
    protocol, source = item.protocol, Source(item.extraction, sample)
    dataset = load_dataset(item.extraction.dataset, item.extraction.data)
    classes = len(dataset.splits["train"].classes)
    train = source.images["train"]
    watch, steps = Watch(math.inf, device), _Steps()
    watch.start()
    began, count = time.perf_counter(), min(ROWS, train)
    steps.measure(source.rows("train", count // 2), classes, protocol.costs[0], device)
    while True:
        features = source.rows("train", count)
        steps.measure(features, classes, protocol.costs[0], device)
        if count == train or 4 * (time.perf_counter() - began) > seconds:
            break
        count = min(train, 2 * count)
    watch.end()
    took = _least(item, steps, features.shape[1], train, source.images["val"])
    # Beyond what was measured: the other rows, and the probabilities of their classes.
    more = (train - count) * (features.shape[1] + classes) * FLOAT32 / GIB
    gpu = gpu_gib(device)
    return Row(
        name=item.key,
        stage=item.stage,
        part_seconds=source.reading_seconds(folder) + took,
        at_least=True,
        host_gib=watch.host_gib + (more if gpu is None else 0.0),
        gpu_gib=None if gpu is None else gpu + more,
        estimated=("hours", "part_seconds", "host_gib", "gpu_gib"),
        notes=(
            f"from {count:,} of {train:,} rows on {source.origin}, by one step of Newton's a fit: "
            "how many it takes depends on the features",
        ),
    )


def _least(item: Logreg, steps: _Steps, width: int, train: int, val: int) -> float:
    """Seconds of all fits, each of one step, and of scoring them."""
    protocol, seed, data = item.protocol, item.trunk.seed, item.extraction
    labels = load_dataset(data.dataset, data.data).splits["train"].labels.astype("int64")
    fitted, held_out = split_off(train, protocol.held_out, seed)
    few = [len(rows) for *_, draws in few_label_draws(item, fitted, labels) for rows in draws]
    path = _at(steps.step, len(fitted)) + _at(steps.step, train)
    # A fit on fewer rows than dimensions is done in as many dimensions as there are rows.
    path += sum(_at(steps.step, rows) * min(1.0, rows / width) for rows in few)
    scored = (1 + len(few)) * (len(held_out) + val)
    each = path + _at(steps.score, scored)
    once = 2 * (steps.whole + steps.renewed * _renewals(protocol.costs))
    return once + len(protocol.costs) * each


def _renewals(costs: tuple[float, ...]) -> int:
    """How often a path makes a preconditioner anew, at least."""
    count, made_for = 0, 0.0
    for cost in costs:
        if not made_for <= cost < RENEWED * made_for:
            count, made_for = count + 1, cost
    return count


def _at(seconds: dict[int, float], rows: int) -> float:
    """Of so many rows, by the line through the two largest numbers that were measured."""
    (few, low), (many, high) = sorted(seconds.items())[-2:]
    return max(0.0, high + (rows - many) * max(0.0, high - low) / (many - few))


def _score(model: Model, features: torch.Tensor, labels: torch.Tensor) -> None:
    start = 0
    for block in logits(model, features):
        true_ranks(block, labels[start : start + len(block)])
        start += len(block)


def _timed(work: Callable[[], T], device: torch.device) -> tuple[T, float]:
    """What `work` gives, and its seconds."""
    began = time.perf_counter()
    found = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return found, time.perf_counter() - began

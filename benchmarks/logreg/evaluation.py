"""The protocol as code: the path on nine tenths, the chosen cost, the fit on all, few labels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.features.cache import Features
from benchmarks.logreg.draws import Rows
from benchmarks.logreg.newton import Solution
from benchmarks.logreg.path import solutions
from benchmarks.logreg.problem import Model, Problem, Standard, logits
from benchmarks.logreg.record import FewLabels, PathPoint
from benchmarks.metrics import true_ranks, wrong_rank
from slurm.errors import UserError

CONVERTED = 8192  # rows at a time
UNSOLVED = 1e-6  # a gap beyond this is said in the record


@dataclass(frozen=True)
class Chosen:
    """What the whole of train gives."""

    path: tuple[PathPoint, ...]
    best: int  # which point of the path was chosen
    ranks: Tensor  # (val,) of the true class at the chosen cost
    unsolved: tuple[float, ...]  # costs whose fit did not reach its minimum


class Evaluation:
    """Features on the device, the held-out rows behind the others: both parts are views."""

    def __init__(
        self,
        features: Features,
        fitted: Rows,
        held_out: Rows,
        *,
        zscore: bool,
        device: torch.device,
    ) -> None:
        order = np.concatenate([fitted, held_out])
        self.classes, self.device, self.fitted = len(features.classes), device, len(fitted)
        self.train = _loaded(features.train, order, device)
        self.labels = torch.from_numpy(features.train_labels[order]).to(device)
        self.val = _loaded(features.val, np.arange(len(features.val)), device)
        self.truth = torch.from_numpy(features.val_labels).to(device)
        self.standard = _standard(self.train, zscore=zscore)
        # The place of each row of the list in `train`.
        self.places = np.empty(len(order), dtype=np.int64)
        self.places[order] = np.arange(len(order))
        self.few_unsolved: set[float] = set()  # costs at which a fit on few labels was not solved

    def choose(self, costs: Sequence[float], tick: Callable[[int], object]) -> Chosen:
        """Every cost on the nine tenths and on all; the best on the held-out tenth is chosen."""
        part, present = self._problem(slice(0, self.fitted))
        whole, every = self._problem(slice(0, len(self.labels)))
        points: list[PathPoint] = []
        unsolved: list[float] = []
        best: int | None = None
        best_ranks = torch.empty(0)
        apart = torch.ones(len(self.labels), dtype=torch.bool, device=self.device)
        pairs = zip(solutions(part, costs), solutions(whole, costs))
        for cost, (selecting, refitted) in zip(costs, pairs):
            held_out = self._held_out_top1(self.standard.raw(selecting.model), present, apart)
            ranks = self._ranks(self.standard.raw(refitted.model), every, self.val, self.truth)
            points.append(PathPoint(cost, held_out, _top1(ranks), refitted.value, refitted.gap))
            unsolved += [cost] * (is_unsolved(selecting) or is_unsolved(refitted))
            if best is None or held_out > points[best].held_out_top1:
                best, best_ranks = len(points) - 1, ranks.cpu()
            tick(2)
        assert best is not None
        return Chosen(tuple(points), best, best_ranks, tuple(unsolved))

    def few(
        self,
        draws: Sequence[Rows],
        costs: Sequence[float],
        source: str,
        tick: Callable[[int], object],
    ) -> FewLabels:
        """Every cost on each draw of rows; the one with the best mean on the held-out is taken."""
        scores = np.empty((2, len(draws), len(costs)))  # held out, and on val
        for number, rows in enumerate(draws):
            places = torch.from_numpy(self.places[rows]).to(self.device)
            problem, present = self._problem(places)
            # A public list knows nothing of what is held out here.
            apart = torch.ones(len(self.labels), dtype=torch.bool, device=self.device)
            apart[: self.fitted] = False
            apart[places] = False
            small, basis = _in_row_space(problem)
            for place, found in enumerate(solutions(small, costs)):
                if is_unsolved(found):
                    self.few_unsolved.add(costs[place])
                weight = found.model.weight if basis is None else basis @ found.model.weight
                raw = self.standard.raw(Model(weight, found.model.bias))
                scores[0, number, place] = self._held_out_top1(raw, present, apart)
                scores[1, number, place] = self._val_top1(raw, present)
                tick(1)
        means = scores[0].mean(0)
        best = int(means.argmax())  # the smallest cost among equals
        top1 = scores[1, :, best]
        return FewLabels(
            mean=float(top1.mean()),
            min=float(top1.min()),
            max=float(top1.max()),
            std=float(top1.std()),
            cost=costs[best],
            top1=tuple(top1.tolist()),
            held_out_by_cost=tuple(means.tolist()),
            labels=len(draws[0]),
            source=source,
        )

    def _problem(self, rows: slice | Tensor) -> tuple[Problem, Tensor]:
        """Of some rows of `train`: the fit, and the classes that it knows."""
        present, labels = torch.unique(self.labels[rows], return_inverse=True)
        if len(present) < 2:
            raise UserError(
                "the training images outside the held-out part are all of one class: there is "
                "nothing to tell apart; check the list or the class folders"
            )
        return Problem(self.train[rows], labels, len(present), self.standard), present

    def _held_out_top1(self, raw: Model, present: Tensor, apart: Tensor) -> float:
        """Of the held-out rows that `apart` (train,) bool leaves."""
        mine = apart[self.fitted :]
        ranks = self._ranks(raw, present, self.train[self.fitted :], self.labels[self.fitted :])
        return _top1(ranks[mine])

    def _val_top1(self, raw: Model, present: Tensor) -> float:
        return _top1(self._ranks(raw, present, self.val, self.truth))

    def _ranks(self, raw: Model, present: Tensor, features: Tensor, truth: Tensor) -> Tensor:
        """Rank of the true class (n,), of all classes; one that the fit does not know is wrong."""
        places = torch.full((self.classes,), -1, device=self.device)
        places[present] = torch.arange(len(present), device=self.device)
        mine = places[truth]
        found = []
        start = 0
        for block in logits(raw, features):
            own = mine[start : start + len(block)]
            ranks = true_ranks(block, own.clamp(min=0))
            found.append(torch.where(own >= 0, ranks, wrong_rank(self.classes)))
            start += len(block)
        return torch.cat(found)


def is_unsolved(found: Solution) -> bool:
    """Whether a fit ended above its minimum, as far as can be told."""
    return found.gap > UNSOLVED or not found.converged


def _top1(ranks: Tensor) -> float:
    return 100.0 * float((ranks == 0).double().mean())


def _loaded(array: NDArray[Any], rows: Rows, device: torch.device) -> Tensor:
    """Some rows of an array, which may be mapped, as fp32 on the device: fp16 loses nothing."""
    found = torch.empty((len(rows), array.shape[1]), dtype=torch.float32, device=device)
    for start in range(0, len(rows), CONVERTED):
        part = np.ascontiguousarray(array[rows[start : start + CONVERTED]], dtype=np.float32)
        found[start : start + len(part)] = torch.from_numpy(part).to(device)
    return found


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    return (rows[start : start + CONVERTED] for start in range(0, len(rows), CONVERTED))


def _standard(train: Tensor, *, zscore: bool) -> Standard:
    """The mean is always taken out, which changes nothing but the intercept."""
    mean = torch.zeros(train.shape[1], dtype=torch.float64, device=train.device)
    for block in _blocks(train):
        mean += block.double().sum(0)
    mean /= len(train)
    if not zscore:
        return Standard(mean, torch.ones_like(mean))
    variance = torch.zeros_like(mean)
    for block in _blocks(train):
        variance += (block.double() - mean).square().sum(0)
    deviation = (variance / len(train)).sqrt()
    return Standard(mean, torch.where(deviation > 0, deviation, 1.0))


def _in_row_space(problem: Problem) -> tuple[Problem, Tensor | None]:
    """The same fit in as many dimensions as it has rows, and the way back; where that is less.

    The minimum lies in the span of the rows: what is orthogonal to all of them costs, and changes
    no value.
    """
    rows, dimensions = problem.features.shape
    if rows >= dimensions:
        return problem, None
    standard = problem.standard
    features = (problem.features.double() - standard.mean) / standard.scale
    left, values, right = torch.linalg.svd(features, full_matrices=False)
    none = Standard.none(len(values), problem.device)
    return Problem(left * values, problem.labels, problem.classes, none), right.T

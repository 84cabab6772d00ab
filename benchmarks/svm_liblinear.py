"""The reference engine: liblinear's dual coordinate descent, through scikit-learn's LinearSVC.

Settings are those of the public scripts (squared hinge, L2, tol 1e-4, 2000 iterations, class
weight 2 for positives, intercept scaling 1), with a seed where they pass none. Problems are solved
in parallel by forked processes that share one float64 matrix with their parent.
"""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.svm_fits import Fits, no_tick

TOLERANCE = 1e-4
MAX_ITERATIONS = 2000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Work:
    """What a forked worker finds in the memory of its parent."""

    train: Floats
    test: Floats | None
    labels: NDArray[np.int8]
    costs: Floats
    positive_weight: float
    seed: int
    tolerance: float
    max_iterations: int


_work: _Work | None = None  # set in the parent just before it forks, so that nothing is pickled


def normalise(features: NDArray[Any], epsilon: float) -> Floats:
    """x / (||x|| + epsilon) in float64, a copy."""
    rows = np.array(features, dtype=np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + epsilon
    return rows


class LiblinearEngine:
    """LinearSVC for each problem; see `svm_fits.Engine`."""

    name = "liblinear"

    def __init__(
        self,
        train: NDArray[Any],
        test: NDArray[Any],
        *,
        epsilon: float,
        positive_weight: float,
        seed: int,
        processes: int | None = None,
        tolerance: float = TOLERANCE,
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        self.train, self.test, self.epsilon = normalise(train, epsilon), test, epsilon
        self.positive_weight, self.seed = positive_weight, seed
        self.processes = processes or len(os.sched_getaffinity(0))
        self.tolerance, self.max_iterations = tolerance, max_iterations

    def fit(
        self,
        labels: NDArray[np.int8],
        costs: Floats,
        *,
        score_test: bool,
        start: NDArray[Any] | None = None,
        tick: Callable[[int], None] = no_tick,
    ) -> Fits:
        """Solve and score; `start` is not used."""
        global _work
        test = normalise(self.test, self.epsilon) if score_test else None
        rows = len(self.test) if score_test else len(self.train)
        scores = np.zeros((*costs.shape, rows))
        iterations = np.zeros(costs.shape, dtype=np.int64)
        _work = _Work(
            self.train,
            test,
            labels,
            costs,
            self.positive_weight,
            self.seed,
            self.tolerance,
            self.max_iterations,
        )
        try:
            tasks = [(p, c) for p in range(costs.shape[0]) for c in range(costs.shape[1])]
            for problem, cost, values, count in _map(tasks, self.processes):
                scores[problem, cost] = values
                iterations[problem, cost] = count
                tick(1)
        finally:
            _work = None
        state = {"tolerance": self.tolerance, "max_iterations": self.max_iterations}
        unsolved = iterations >= self.max_iterations
        return Fits(scores, unsolved, iterations.astype(np.float64), state)


_Solution = tuple[int, int, Floats, int]


def _map(tasks: list[tuple[int, int]], processes: int) -> Iterator[_Solution]:
    """Solve the tasks, in forked processes when there are several; in any order."""
    if processes == 1 or len(tasks) == 1:
        yield from map(_solve, tasks)
        return
    # Forked, so that the workers read the parent's matrix where it lies.
    with multiprocessing.get_context("fork").Pool(min(processes, len(tasks))) as pool:
        yield from pool.imap_unordered(_solve, tasks)


def _solve(task: tuple[int, int]) -> _Solution:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC
    from threadpoolctl import threadpool_limits

    assert _work is not None
    problem, cost = task
    labels = _work.labels[problem]
    rows = np.flatnonzero(labels)
    machine = LinearSVC(
        C=float(_work.costs[problem, cost]),
        loss="squared_hinge",
        penalty="l2",
        dual=True,
        tol=_work.tolerance,
        max_iter=_work.max_iterations,
        class_weight={1: _work.positive_weight, -1: 1.0},
        intercept_scaling=1.0,
        random_state=_work.seed,
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        # Reaching max_iter is reported in the record instead.
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(_work.train[rows], labels[rows])
        values = machine.decision_function(_work.train if _work.test is None else _work.test)
    return problem, cost, values, int(machine.n_iter_)

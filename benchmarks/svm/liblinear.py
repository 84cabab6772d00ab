"""The reference engine: liblinear's dual coordinate descent, through scikit-learn's LinearSVC.

Settings are those of the public scripts (squared hinge, L2, tol 1e-4, 2000 iterations, class
weight 2 for positives, intercept scaling 1), with a seed where they pass none. Problems are solved
in parallel by forked processes that share one float64 matrix with their parent.
"""

import os
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.svm.solver.fits import Doubt, Fits, Floats, Grade, no_tick
from benchmarks.svm.solver.workers import each
from slurm.threads import share_of

TOLERANCE = 1e-4
MAX_ITERATIONS = 2000


def normalise(features: NDArray[Any], epsilon: float) -> Floats:
    """x / (||x|| + epsilon) in float64, a copy."""
    rows = np.array(features, dtype=np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + epsilon
    return rows


class LiblinearEngine:
    """LinearSVC for each problem; see `solver.fits.Engine`."""

    device = "cpu"

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
        self.processes = processes or share_of(1, os.environ)
        self.tolerance, self.max_iterations = tolerance, max_iterations

    def fit(
        self,
        labels: NDArray[np.int8],
        costs: Floats,
        grade: Grade,
        *,
        on_test: bool,
        start: NDArray[Any] | None = None,
        doubt: Doubt | None = None,
        tick: Callable[[int], None] = no_tick,
    ) -> Fits:
        """Solve and grade; `start` and `doubt` are not used."""
        scored = self._test_rows if on_test else self.train

        def solve(task: tuple[int, int]) -> tuple[Floats, int]:
            problem, cost = task
            values, count = self._solve(labels[problem], float(costs[problem, cost]), scored)
            return grade(problem, cost, values[None]), count

        tasks = [(p, c) for p in range(costs.shape[0]) for c in range(costs.shape[1])]
        grades, iterations = [], []
        for found, count in each(solve, tasks, self.processes):
            grades.append(found[0])
            iterations.append(count)
            tick(1)
        effort = np.array(iterations, dtype=np.float64).reshape(costs.shape)
        graded = np.stack(grades)
        graded = graded.reshape(*costs.shape, *graded.shape[1:])
        state = {"tolerance": self.tolerance, "max_iterations": self.max_iterations}
        return Fits(graded, effort >= self.max_iterations, effort, state)

    @cached_property
    def _test_rows(self) -> Floats:
        return normalise(self.test, self.epsilon)

    def _solve(self, labels: NDArray[np.int8], cost: float, scored: Floats) -> tuple[Floats, int]:
        """Decision values of `scored` (S, D), and the iterations that were needed."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC
        from threadpoolctl import threadpool_limits

        rows = np.flatnonzero(labels)
        machine = LinearSVC(
            C=cost,
            loss="squared_hinge",
            penalty="l2",
            dual=True,
            tol=self.tolerance,
            max_iter=self.max_iterations,
            class_weight={1: self.positive_weight, -1: 1.0},
            intercept_scaling=1.0,
            random_state=self.seed,
        )
        with warnings.catch_warnings(), threadpool_limits(1):
            # Reaching max_iter is reported in the record instead.
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(self.train[rows], labels[rows])
            return machine.decision_function(scored), int(machine.n_iter_)

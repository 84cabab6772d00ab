"""Problems of few training rows, as in low-shot: each whole on its own block of the Gram matrix.

A problem is solved at all its costs, scored and graded in one go, by one of several processes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.svm.solver.block import Block
from benchmarks.svm.solver.block_solver import BlockSolver
from benchmarks.svm.solver.fits import Floats, Grade
from benchmarks.svm.solver.kernel import Kernel
from benchmarks.svm.solver.multiplying import threads_here
from benchmarks.svm.solver.problems import Problems
from benchmarks.svm.solver.workers import each

SMALL_ROWS = 1300  # above it the batched solver, whose products all problems share, is faster

# The scores (L, scored) of solutions: training rows (n,) and b (L, n) on them.
Score = Callable[[NDArray[np.int64], Floats], Floats]


@dataclass(frozen=True)
class Graded:
    """One problem at its L costs."""

    grades: Floats
    residual: Floats  # in units of the tolerance's right-hand side
    newton: NDArray[np.int64]  # Newton steps


def solve_small(
    kernel: Kernel,
    factor: NDArray[np.float32],
    problems: Problems,
    score: Score,
    grade: Grade,
    tick: Callable[[int], None],
) -> list[Graded]:
    """Solve and grade all problems; `factor` is F of `kernel.eigenspace`."""

    def solve(problem: int) -> Graded:
        labels, weights = problems.labels[problem], problems.weights_of(problem)
        rows, costs = np.flatnonzero(labels), problems.costs[problem]
        solver = BlockSolver(Block.gather(kernel, factor, rows), labels[rows], weights[rows])
        found = [*solver.solve_small(costs)]
        found += [solver.solve(cost) for cost in costs[len(found) :].tolist()]
        scores = score(rows, np.stack([one.dual for one in found]))
        return Graded(
            grade(problem, 0, scores),
            np.array([one.residual for one in found]),
            np.array([one.newton for one in found]),
        )

    count, width = problems.costs.shape
    done = []
    for graded in each(solve, range(count), threads_here()):
        done.append(graded)
        tick(width)
    return done

"""The default engine: exact squared-hinge SVMs from one Gram matrix a layer.

Folds and low-shot draws are index sets in the matrix, so all classes, folds and costs are solved
together; see `solver.newton` for the equations. Of many narrow rows no matrix is made: the same
equations go through the features.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.files import first_alike
from benchmarks.svm.refining import refine_on_features
from benchmarks.svm.solver import batch, convergence
from benchmarks.svm.solver.fits import Doubt, Fits, Floats, Grade, Ints, joined, no_tick
from benchmarks.svm.solver.kernel import Kernel, ScoredRows, eigenspace
from benchmarks.svm.solver.multiplying import in_turn, one_thread_each
from benchmarks.svm.solver.problems import Problems
from benchmarks.svm.solver.rows import TrainingRows
from benchmarks.svm.solver.small import SMALL_ROWS, solve_small

BYTES = 1000  # that the solver holds of a problem for each training row, with all its costs
MOST_BYTES = 2**30  # that it may hold
RANK = 64  # of the preconditioner
DOUBT = 3e-5  # an AP, in 0..1, that rounding may have moved by more is found again, exactly
GRADED = 3e-7  # the tolerance at which it is
GRADED_ENOUGH = 1e-4  # up to this residual no AP was seen off by 0.001 points; beyond, unsolved
BATCH = 160  # solutions that a thread scores and grades at once


class GramEngine:
    """Squared-hinge SVMs on one layer's Gram matrix; see `solver.fits.Engine`."""

    def __init__(
        self,
        training: TrainingRows,
        test: NDArray[Any],
        *,
        positive_weight: float,
        seed: int,
    ) -> None:
        self.test, self.positive_weight = test, positive_weight
        self.kernel = Kernel(training)
        rank = min(RANK, max(1, len(training.rows) // 8))
        with one_thread_each():
            self.factor = eigenspace(self.kernel, rank, seed)
        self.alike_train, self.alike_test = first_alike(training.features), first_alike(test)
        self.dual: NDArray[Any] | None = None  # (P, L, N), of the last fit

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
        """Solve and grade; equal images get equal scores."""
        begun = None if start is None else _wide(start)
        problems = Problems(_wide(labels), _wide(costs), self.positive_weight, begun)
        alike = self.alike_test if on_test else self.alike_train

        def grade_alike(problem: int, cost: int, scores: NDArray[Any]) -> Floats:
            return grade(problem, cost, scores[:, alike])

        def doubt_alike(problem: int, cost: int, scores: NDArray[Any], error: Floats) -> Floats:
            assert doubt is not None
            return doubt(problem, cost, scores[:, alike], error)

        doubted = None if doubt is None or on_test or self.kernel.exact is not None else doubt_alike
        small = doubted is None and int((labels != 0).sum(1).max()) <= SMALL_ROWS
        with one_thread_each():
            if small:
                return self._fit_small(problems, grade_alike, on_test, tick)
            return self._fit_large(problems, grade_alike, doubted, on_test, tick)

    def _fit_small(
        self, problems: Problems, grade: Grade, on_test: bool, tick: Callable[[int], None]
    ) -> Fits:
        self.dual = None
        scored = self.test_rows if on_test else self._train_rows

        def score(rows: NDArray[np.int64], dual: Floats) -> Floats:
            return scored.scores(dual, rows)

        done = solve_small(self.kernel, self.factor, problems, score, grade, tick)
        residual = np.stack([one.residual for one in done])
        steps = sum(int(one.newton.sum()) for one in done)
        grades = np.stack([one.grades for one in done])
        return _fits(grades, residual, steps, 0)

    def _fit_large(
        self,
        problems: Problems,
        grade: Grade,
        doubt: Doubt | None,
        on_test: bool,
        tick: Callable[[int], None],
    ) -> Fits:
        """So many problems at a time as there is room for."""
        count, room = len(problems.labels), self._room
        done: list[Fits] = []
        duals: list[NDArray[Any]] = []
        for begin in range(0, count, room):

            def of_some(name: Callable[..., Floats], begin: int = begin) -> Callable[..., Floats]:
                return lambda problem, *others: name(begin + problem, *others)

            some = problems.some(np.arange(begin, min(begin + room, count)))
            doubted = None if doubt is None else of_some(doubt)
            done.append(self._fit_some(some, of_some(grade), doubted, on_test, tick))
            if self.dual is not None and not on_test:
                duals.append(self.dual)
        self.dual = np.concatenate(duals) if len(duals) > 1 else self.dual
        return done[0] if len(done) == 1 else joined(done)

    @property
    def _room(self) -> int:
        """How many problems may be solved at once."""
        return max(1, MOST_BYTES // (BYTES * self.kernel.size))

    def _fit_some(
        self,
        problems: Problems,
        grade: Grade,
        doubt: Doubt | None,
        on_test: bool,
        tick: Callable[[int], None],
    ) -> Fits:
        count, size = problems.labels.shape
        shape = (count, problems.costs.shape[1], size)
        narrow = self.kernel.gram is None
        exact = self.kernel.exact is not None or (narrow and on_test)
        self.dual = np.zeros(shape, np.float64 if exact else np.float32)
        values = None if on_test else np.zeros(shape)

        def solved(problem: Ints, cost: Ints, dual: Floats, value: Floats) -> None:
            assert self.dual is not None
            self.dual[problem, cost] = dual
            if values is not None:
                values[problem, cost] = value

        report = batch.solve(self.kernel, self.factor, problems, solved, tick, not on_test)
        steps, residual = int(report.newton.sum()), report.residual
        if on_test and shape[1] == 1:
            dual, _, refined = self._refine(problems, self.dual[:, 0])
            scores = self.kernel.exact_scores(self.kernel.exact_weights(dual), self.test)
            steps, residual = steps + int(refined.newton.sum()), refined.residual
            grades = [grade(problem, 0, one[None]) for problem, one in enumerate(scores)]
            products = report.products + refined.products
            return _fits(np.stack(grades), residual, steps, products)
        if on_test:
            self.test_rows  # noqa: B018 (made by all threads, before any of them needs it)

        def graded(begin: int) -> list[Floats]:
            assert self.dual is not None
            some = slice(begin, begin + step)
            found = self._score_test(self.dual[some]) if values is None else values[some]
            if doubt is None:
                return [grade(begin + at, 0, row)[None] for at, row in enumerate(found)]
            errors = self.kernel.rounding(self.dual[some], problems.costs[some])
            return [
                np.stack([grade(begin + at, 0, row), doubt(begin + at, 0, row, error)])
                for at, (row, error) in enumerate(zip(found, errors))
            ]

        step = max(1, BATCH // shape[1])
        parts = [one for some in in_turn(graded, range(0, count, step)) for one in some]
        grades, *doubts = np.stack(parts, axis=1)
        products = report.products
        if doubts:
            doubted = np.argwhere(doubts[0] > DOUBT)
            more = self._grade_again(problems, doubted, grade, grades, residual)
            steps, products = steps + more[0], products + more[1]
        return _fits(grades, residual, steps, products)

    def _grade_again(
        self, problems: Problems, places: Ints, grade: Grade, grades: Floats, residual: Floats
    ) -> tuple[int, int]:
        """Set `grades` at `places` (k, 2) by exact scores; the Newton steps and products it took.

        Places are of a problem and one of its costs. `residual` is set where exact scores are not
        found to `GRADED_ENOUGH`, which are then unsolved.
        """
        assert self.dual is not None
        steps = products = 0
        room = self._room
        for begin in range(0, len(places), room):
            problem, cost = places[begin : begin + room].T
            costs = problems.costs[problem, cost][:, None]
            some = replace(problems.some(problem), costs=costs, refined=GRADED)
            _, scores, report = self._refine(some, self.dual[problem, cost])
            for at, of, row in zip(problem.tolist(), cost.tolist(), scores):
                grades[at, of] = grade(at, of, row[None])[0]
            missed = report.residual[:, 0] > GRADED_ENOUGH
            residual[problem[missed], cost[missed]] = report.residual[missed, 0]
            steps, products = steps + int(report.newton.sum()), products + report.products
        return steps, products

    def _refine(
        self, problems: Problems, dual: NDArray[Any]
    ) -> tuple[Floats, Floats, batch.Report]:
        """b and f (P, N) of problems with one cost each, free of the rounding of K.

        `dual` (P, N) is what the solver found, of which f is exact on the features; what is left
        to be done is so little that its own rounding does not count.
        """
        dual = dual.astype(np.float64)
        value = self.kernel.exact_scores(
            self.kernel.exact_weights(dual), self.kernel.training.features
        )
        value += dual.sum(1)[:, None]
        refined, values = dual.copy(), value.copy()

        def solved(problem: Ints, cost: Ints, dual: Floats, value: Floats) -> None:
            refined[problem], values[problem] = dual, value

        start = replace(problems, start=dual, start_value=value)
        report = batch.solve(self.kernel, self.factor, start, solved)
        left = np.flatnonzero(report.residual[:, 0] > convergence.TOLERANCE)
        if self.kernel.gram is None and len(left):
            some = start.some(left)
            for at, one in zip(left, refine_on_features(self.kernel, some, refined[left])):
                refined[at], values[at] = one.dual, one.value
                report.residual[at, 0] = one.residual
                report.newton[at, 0] += one.newton
        return refined, values, report

    def _score_test(self, dual: NDArray[Any]) -> Floats:
        """What ranks the test rows, (P, L, T), for (P, L, N) b."""
        count, costs, size = dual.shape
        return self.test_rows.scores(dual.reshape(-1, size)).reshape(count, costs, -1)

    @property
    def device(self) -> str:
        """Where products with all features were made: cpu or cuda."""
        return "cuda" if self.kernel.training.multiplier.used_gpu else "cpu"

    @property
    def _train_rows(self) -> ScoredRows:
        """The training rows as rows to be scored, in fp64."""
        kernel = self.kernel
        rows = kernel.training.rows.astype(np.float64, copy=False)
        products = kernel.gram if kernel.exact is None else kernel.exact
        wide = None if products is None else products.astype(np.float64, copy=False)
        return ScoredRows(rows, rows, wide, kernel.lift)

    @cached_property
    def test_rows(self) -> ScoredRows:
        """The test rows, and where they are kept their products with the training rows."""
        return self.kernel.test_rows(self.test)


def _wide(array: NDArray[Any]) -> Floats:
    return np.asarray(array, dtype=np.float64)


def _fits(grades: Floats, residual: Floats, steps: int, products: int) -> Fits:
    state = {
        "tolerance": convergence.TOLERANCE,
        "newton_steps": steps,
        "gram_products": products,
    }
    return Fits(grades, ~(residual <= convergence.TOLERANCE), residual, state)

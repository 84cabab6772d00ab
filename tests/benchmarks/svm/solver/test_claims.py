"""A residual that a solution claims is that of its b, whatever the limits were."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.svm.solver import batch, compact, newton
from benchmarks.svm.solver.block import Block
from benchmarks.svm.solver.block_solver import BlockSolver
from benchmarks.svm.solver.compact import Parked, finish
from benchmarks.svm.solver.convergence import TOLERANCE, residual_of, ridge_of, tau_of
from benchmarks.svm.solver.fits import Floats, Ints
from benchmarks.svm.solver.kernel import eigenspace
from benchmarks.svm.solver.multiplying import one_thread_each
from benchmarks.svm.solver.problems import Problems
from slurm.errors import UserError
from tests.benchmarks.svm.svm_data import Recipe, kernel_of, make, mirrored

COSTS = (0.5**4, 1.0, 10.0, 100.0, 1000.0)
COSTS_OF_A_BATCH = (0.5**7, 0.5**5, 0.5**4, 0.5**3, 0.5**2, 0.5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As blocks are solved everywhere: BLAS threads on a busy machine wait for one another."""
    with one_thread_each():
        yield


@pytest.mark.parametrize("limit", [4, 6, 9, 80])
def test_no_solution_claims_more_than_it_is(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.svm.solver.block_solver.NEWTON_STEPS", limit)
    for seed in range(12):
        data = make(Recipe(rows=300, dimensions=62, classes=2, seed=seed))
        kernel = kernel_of(data.train)
        factor, rows = eigenspace(kernel, 32, 0), np.arange(300)
        for column in range(2):
            labels = np.where(data.train_labels[:, column] == 1, 1.0, -1.0)
            weights = np.where(labels > 0, 2.0, 1.0)
            block = Block.gather(kernel, factor, rows)
            solver = BlockSolver(block, labels, weights)
            solver.solve_small(np.array(COSTS))
            for cost in COSTS:
                found = solver.solve(cost)
                price = np.array([cost])
                value = mirrored(block.exact(rows)) @ found.dual
                signs, weighted, dual, values = (
                    one[None] for one in (labels, weights, found.dual, value)
                )
                ridge = ridge_of(weighted, price)
                true = residual_of(signs, ridge, dual, values, tau_of(price)).item()
                assert true <= TOLERANCE or found.residual > TOLERANCE
                assert limit < 80 or true <= TOLERANCE


@pytest.mark.parametrize("decay", [0.5, 1.5])
def test_the_batched_solver_claims_no_more(decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newton, "COMPACT_SHARE", 0.0)
    data = make(Recipe(rows=900, dimensions=200, classes=3, decay=decay))
    kernel = kernel_of(data.train)
    labels = np.where(data.train_labels.T == 1, 1.0, -1.0)
    costs = np.array([COSTS_OF_A_BATCH] * 3)
    problems = Problems(labels, costs, 2.0)
    true = np.full(costs.shape, np.inf)

    def solved(problem: Ints, cost: Ints, dual: Floats, _: object) -> None:
        price = costs[problem, cost]
        true[problem, cost] = residual_of(
            labels[problem],
            ridge_of(problems.weights[problem], price),
            dual,
            kernel.multiply_exactly(dual),
            tau_of(price),
        )

    report = batch.solve(kernel, eigenspace(kernel, 32, 0), problems, solved)
    assert (report.residual <= TOLERANCE).all()
    assert (true <= 1.01 * TOLERANCE).all()


def test_nothing_solved_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where f was constant when the block was made, and its spread zero."""
    monkeypatch.setattr("benchmarks.svm.solver.block_solver.NEWTON_STEPS", 0)
    kernel = kernel_of(make(Recipe(rows=40, dimensions=20)).train)
    labels = np.where(np.arange(40) % 2, 1.0, -1.0)[None]
    nothing, first = np.zeros_like(labels), np.zeros(1, np.int64)
    parked = Parked(first, first, labels, np.ones_like(labels), nothing, nothing.copy())
    claims: list[float] = []

    def deliver(*found: NDArray[Any]) -> None:
        claims.extend(found[4].tolist())

    costs = np.ones((1, 1))
    finish(kernel, eigenspace(kernel, 8, 0), parked, costs, deliver, True)
    assert len(claims) == 1
    assert claims[0] > TOLERANCE


def test_blocks_take_no_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    kernel, found = kernel_of(make(Recipe(rows=150, dimensions=30)).train), {}
    for free in (None, 10**6, 24 * 100**2 * 2, 24 * 100**2):
        monkeypatch.setattr("benchmarks.svm.solver.compact.free_bytes", lambda free=free: free)
        found[free] = compact.processes_with_room(kernel, 3, 100)
    assert list(found.values()) == [3, 3, 2, 1]
    monkeypatch.setattr("benchmarks.svm.solver.compact.free_bytes", lambda: 24 * 100**2 - 1)
    with pytest.raises(UserError, match=r"a problem of 100 rows .* takes 0\.0 GiB"):
        compact.processes_with_room(kernel, 3, 100)
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.solver.rows.MANY_ROWS", 0)
    narrow = kernel_of(make(Recipe(rows=150, dimensions=30)).train)
    assert compact.processes_with_room(narrow, 3, 100) == 3  # features instead of products

"""A residual that a block's solution claims is that of its b, whatever the limits were."""

import numpy as np
import pytest
import torch

from benchmarks import svm_block
from benchmarks.svm_block import Block, BlockSolver
from benchmarks.svm_kernel import eigenspace
from benchmarks.svm_rules import TOLERANCE, residual_of, ridge_of, tau_of
from tests.benchmarks.svm_data import Recipe, kernel_of, make

COSTS = (0.5**4, 1.0, 10.0, 100.0, 1000.0)


@pytest.mark.parametrize("limit", [4, 6, 9, 80])
def test_no_solution_claims_more_than_it_is(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svm_block, "NEWTON_STEPS", limit)
    for seed in range(12):
        data = make(Recipe(rows=300, dimensions=62, classes=2, seed=seed))
        kernel = kernel_of(data.train)
        factor, rows = eigenspace(kernel, 32, 0), torch.arange(300)
        for column in range(2):
            labels = torch.from_numpy(np.where(data.train_labels[:, column] == 1, 1.0, -1.0))
            weights = torch.where(labels > 0, 2.0, 1.0).double()
            block = Block.gather(kernel, factor, rows)
            solver = BlockSolver(block, labels, weights)
            solver.solve_small(torch.tensor(COSTS, dtype=torch.float64))
            for cost in COSTS:
                found = solver.solve(cost)
                price = torch.tensor([cost], dtype=torch.float64)
                true = residual_of(
                    labels[None],
                    ridge_of(weights[None], price),
                    found.dual[None],
                    (block.exact(rows) @ found.dual)[None],
                    tau_of(price),
                ).item()
                assert true <= TOLERANCE or found.residual > TOLERANCE
                assert limit < 80 or true <= TOLERANCE

"""Products and searches in fp32 that must not mislead Newton's method."""

import numpy as np
import torch

from benchmarks.svm.solver.block import Block
from benchmarks.svm.solver.convergence import LONGEST, line_search
from benchmarks.svm.solver.kernel import eigenspace
from tests.benchmarks.svm.svm_data import Recipe, kernel_of, make


def test_products_do_not_drown_in_the_mean_of_the_features() -> None:
    """Of an untrained trunk nearly all energy lies in the mean, and b has large entries."""
    features = 5 + 0.02 * make(Recipe(rows=300, dimensions=80)).train
    kernel = kernel_of(features)
    rows = torch.arange(0, 300, 2)
    block = Block.gather(kernel, eigenspace(kernel, 16, 0), rows)
    vector = torch.from_numpy(np.random.default_rng(0).normal(0, 100, len(rows))).float()
    exact = block.exact(torch.arange(len(rows)))
    expected = exact @ vector.double()
    ours = (block.multiply(vector).double() - expected).abs().max()
    plain = (torch.mv(exact.float(), vector).double() - expected).abs().max()
    assert ours < plain / 5
    torch.testing.assert_close(block.multiply_exactly(vector.double()), expected)
    few = torch.arange(3, 9)
    assert torch.equal(block.part(few).exact(torch.arange(6)), exact[few][:, few])


def test_a_line_search_that_rounding_misleads_is_bounded() -> None:
    """An f that is not K b makes the objective fall for ever along a step."""
    labels = torch.tensor([[1.0, -1.0, 1.0]], dtype=torch.float64)
    ridge = torch.full_like(labels, 0.05)
    dual, value = torch.zeros_like(labels), 5 * labels
    length = line_search(labels, ridge, dual, value, labels, -1e-3 * labels)
    assert 0 <= length.item() <= LONGEST

"""The default engine: exact squared-hinge SVMs from one Gram matrix a layer, on any device.

Folds and low-shot draws are index sets in the matrix, so all classes, folds and costs are solved
together; see `svm_newton` for the equations.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import svm_newton, svm_rules
from benchmarks.feature_files import first_alike
from benchmarks.svm_fits import Fits, Floats, no_tick
from benchmarks.svm_kernel import CHUNK, Kernel, eigenspace, primal
from benchmarks.svm_newton import Problems

RANK = 128  # of the preconditioner
MANY = 1000  # solutions from which a test Gram matrix pays
BATCH = 2048  # solutions scored at once


class GramEngine:
    """Squared-hinge SVMs on one layer's Gram matrix; see `svm_fits.Engine`."""

    name = "gram"

    def __init__(
        self,
        train: NDArray[Any],
        test: NDArray[Any],
        *,
        epsilon: float,
        positive_weight: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.test, self.positive_weight = test, positive_weight
        self.kernel = Kernel(train, epsilon, device)
        rank = min(RANK, max(1, len(train) // 8))
        self.factor = eigenspace(self.kernel, rank, seed)
        self.alike_train, self.alike_test = first_alike(train), first_alike(test)
        self.dual: Tensor | None = None  # (P, L, N) fp32, of the last fit
        self._test_gram: tuple[Tensor, Tensor] | None = None

    def fit(
        self,
        labels: NDArray[np.int8],
        costs: Floats,
        *,
        score_test: bool,
        start: NDArray[Any] | None = None,
        tick: Callable[[int], None] = no_tick,
    ) -> Fits:
        """Solve and score; `start` is (P, N): b to start the first cost of each problem from."""
        problems = Problems(
            self._tensor(labels),
            self._tensor(costs),
            self.positive_weight,
            None if start is None else self._tensor(start),
        )
        shape = (*costs.shape, labels.shape[1])
        self.dual = torch.zeros(shape, dtype=torch.float32, device=self.kernel.device)
        values = None if score_test else torch.zeros_like(self.dual, dtype=torch.float64)

        def solved(problem: Tensor, cost: Tensor, dual: Tensor, value: Tensor) -> None:
            assert self.dual is not None
            self.dual[problem, cost] = dual.float()
            if values is not None:
                values[problem, cost] = value

        report = svm_newton.solve(self.kernel, self.factor, problems, solved, tick, not score_test)
        if values is None:
            scores = self._score_test(self.dual, largest=int((labels != 0).sum(1).max()))
            scores = scores[..., self.alike_test]
        else:
            scores = values.cpu().numpy()[..., self.alike_train]
        state = {
            "tolerance": svm_rules.TOLERANCE,
            "newton_steps": int(report.newton.sum()),
            "gram_products": report.products,
        }
        return Fits(scores, report.unsolved.numpy(), report.residual.numpy(), state)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.asarray(array, dtype=np.float64)).to(self.kernel.device)

    def _score_test(self, dual: Tensor, largest: int) -> Floats:
        """What ranks the test rows, (P, L, T), for (P, L, N) b with at most `largest` rows each."""
        count, costs, size = dual.shape
        if count * costs < MANY and self._test_gram is None:
            return self._score_rows(dual.reshape(-1, size)).reshape(count, costs, -1)
        if self._test_gram is None:
            self._test_gram = self._make_test_gram()
        gram, lift = self._test_gram
        scores = np.empty((count, costs, len(self.test)))
        few = largest < size // 8
        step = 1 if few else max(1, BATCH // costs)
        for begin in range(0, count, step):
            part = dual[begin : begin + step].reshape(-1, size)
            total = part.sum(1, dtype=torch.float64)
            if few:
                rows = torch.nonzero((part != 0).any(0))[:, 0]
                found = part[:, rows] @ gram[rows]
            else:
                found = part @ gram
            lifted = found.double() + total[:, None] * lift
            scores[begin : begin + step] = lifted.cpu().numpy().reshape(-1, *scores.shape[1:])
        return scores

    def _score_rows(self, dual: Tensor) -> Floats:
        """Through the weights, one chunk of test rows after another."""
        weights, total = primal(self.kernel, dual)
        scores = np.empty((len(dual), len(self.test)))
        for begin in range(0, len(self.test), CHUNK):
            rows, lift = self.kernel.centre(self.test[begin : begin + CHUNK])
            found = (weights.float() @ rows.T).double() + total[:, None] * lift
            scores[:, begin : begin + CHUNK] = found.cpu().numpy()
        return scores

    def _make_test_gram(self) -> tuple[Tensor, Tensor]:
        rows, lift = self.kernel.centre(self.test)
        return self.kernel.rows @ rows.T, lift

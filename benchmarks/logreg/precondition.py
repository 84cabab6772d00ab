"""The preconditioner of Newton's steps: the Hessian's own block of each class, inverted.

Of class k the block is C sum_i w_i x_i x_i' + I with w_i = p_ik (1 - p_ik). Rows that weigh more
than others are summed, all others stand in it with their mean weight: in the eigenvectors of the
plain Gram matrix that is a diagonal. So a small cost, where all rows weigh alike, needs no sum, and
a large one, where few rows are undecided, a small one. Only the leading eigenvectors have a block:
those along which the rows curve the objective at all, beside the penalty's 1, and at most as many
as `FLOATS` allows. Beyond them the Hessian is taken to be diagonal.

What two classes have in common is left out: conjugate gradients find it in a few steps, since each
block holds all that the rows say of its own class.
"""

from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from benchmarks.logreg.problem import Model, Point, Problem

FLOATS = 2**26  # of all blocks
HEAVY = 2.0  # times the mean weight of its class: such rows are summed
FLAT = 0.1  # of the penalty's curvature: where the rows add less, the diagonal is enough
RIDGES = 8  # each ten times the last, that are tried
RIDGE = 1e-7  # of a block's largest diagonal: what rounding of its sum could make negative


@dataclass(frozen=True)
class Basis:
    """Eigenvectors of a problem's Gram matrix, the leading ones first."""

    vectors: Tensor  # (D, D) fp32
    values: Tensor  # (D,) fp64
    rows: Tensor  # (N, r + 1) fp32: the leading coordinates of each row, and a constant 1

    @classmethod
    def of(cls, problem: Problem) -> "Basis":
        """Once for a whole path."""
        values, vectors = torch.linalg.eigh(problem.gram())
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        leading = min(len(values), max(1, isqrt(FLOATS // problem.classes) - 1))
        turned = problem.turned(vectors[:, :leading])
        return cls(vectors.float(), values, torch.cat([turned, turned.new_ones(len(turned), 1)], 1))

    @property
    def leading(self) -> int:
        """How many eigenvectors have a block."""
        return self.rows.shape[1] - 1


class Preconditioner:
    """An approximate inverse of the Hessian at a point."""

    def __init__(self, basis: Basis, point: Point, cost: float) -> None:
        self.basis = basis
        weights = point.probabilities * (1 - point.probabilities)
        means = weights.mean(0)
        curves = cost * float(means.max()) * basis.values[: basis.leading] > FLAT
        self.leading = max(1, int(curves.sum()))
        rows = torch.cat([basis.rows[:, : self.leading], basis.rows[:, -1:]], 1)
        heavy = weights > HEAVY * means
        light = torch.where(heavy, 0.0, weights).double().mean(0)  # (K,) of all rows
        count, size = rows.shape
        diagonal = torch.cat([basis.values[: self.leading], basis.values.new_tensor([count])])
        blocks = torch.empty(
            (weights.shape[1], size, size), dtype=torch.float32, device=weights.device
        )
        own = basis.values.new_ones(size)
        own[-1] = 0  # the intercept bears no penalty
        for number in range(len(blocks)):
            places = torch.nonzero(heavy[:, number])[:, 0]
            scaled = rows[places] * weights[places, number, None].sqrt()
            block = (scaled.T @ scaled).double() + torch.diag(light[number] * diagonal)
            blocks[number] = _inverse(cost * block + torch.diag(own)).float()
        self.blocks = blocks
        rest = cost * torch.outer(basis.values[self.leading :], weights.double().mean(0)) + 1
        self.rest = rest.float()

    def __call__(self, model: Model) -> Model:
        """The inverse's product with a gradient or a residual."""
        turned = self.basis.vectors.T @ model.weight.float()
        leading = self.leading
        own = torch.cat([turned[:leading], model.bias[None].float()])
        # The blocks are symmetric, and torch multiplies rows several times as fast as columns.
        solved = torch.bmm(own.T[:, None], self.blocks)[:, 0].T
        weight = self.basis.vectors @ torch.cat([solved[:-1], turned[leading:] / self.rest])
        weight, bias = weight.double(), solved[-1].double()
        # The same for all classes changes nothing; no solution has any of it.
        return Model(weight - weight.mean(1, keepdim=True), bias - bias.mean())


def _inverse(block: Tensor) -> Tensor:
    """Of a positive definite matrix, fp64, but for rounding."""
    size = len(block)
    ridge = RIDGE * float(block.diagonal().max())
    identity = torch.eye(size, dtype=block.dtype, device=block.device)
    for _ in range(RIDGES):
        factor, failed = torch.linalg.cholesky_ex(block + ridge * identity)
        if not int(failed):
            return torch.cholesky_inverse(factor)
        ridge *= 10
    raise FloatingPointError("a block of the Hessian is not positive, or no finite number")

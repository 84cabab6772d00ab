"""One problem on a block of the Gram matrix that is small enough for a cache.

In small draws, and at large costs, few rows violate their margins. Newton's method runs on a
gathered block, and on smaller ones of it as rows fall behind their margins; conjugate gradients
find the direction in fp32; what a solution claims is measured in fp64.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.svm.solver.block import Block
from benchmarks.svm.solver.convergence import TOLERANCE, line_search, residual_of, ridge_of, tau_of
from benchmarks.svm.solver.lanczos import LANCZOS_COST, LANCZOS_STEPS, solve_all_active

NEWTON_STEPS = 80
CG_STEPS = 100  # then the active block is factored instead
DIRECT_ROWS = 400  # with fewer active ones, factoring is cheaper than the calls of an iteration
NEAR = 0.1  # rows that satisfy their margin by less are kept at hand
ROUGH = 1e-4  # directions found to more than this need no value in fp64
INNER = 0.3 * TOLERANCE  # so that a residual over more rows stays below TOLERANCE


class Solution(NamedTuple):
    """b on the rows of a block at one cost."""

    dual: Tensor  # (n,) fp64
    newton: int  # Newton steps
    residual: float  # over the rows of the block


class BlockSolver:
    """One problem on the rows of a block, at one cost after another.

    `labels` (1, -1), `weights` and `dual` (where to start) are (n,) fp64; `active` (n,) bool are
    the rows to take as active in the first Newton step, when that is known better than from `dual`.
    `spread` is that of f over all training rows, when the block does not hold them all.
    """

    def __init__(
        self,
        block: Block,
        labels: Tensor,
        weights: Tensor,
        dual: Tensor | None = None,
        active: Tensor | None = None,
        spread: float | None = None,
    ) -> None:
        self.whole, self.whole_labels, self.whole_weights = block, labels, weights
        self.first_active, self.fixed_spread = active, spread
        self.whole_ridge = torch.zeros_like(labels)
        self.stalls = False  # gradients took too long, as they will at larger costs
        self.value: Tensor  # f on the rows that are kept
        self.rough: bool  # the value is only as exact as fp32
        self.built: Tensor | None  # the active set that the preconditioner fits
        self._keep_all(torch.zeros_like(labels) if dual is None else dual)

    def solve_small(self, costs: Tensor) -> list[Solution]:
        """The leading ones of ascending costs (L,) that one Krylov space solves, from nothing.

        What comes next then starts where it starts best.
        """
        labels, weights = self.whole_labels[None], self.whole_weights[None]
        low = costs[costs <= LANCZOS_COST]
        if not len(low):
            self._keep_all(2 * costs[0] * weights[0] * labels[0])  # the limit of small costs
            return []
        flat = solve_all_active(
            self.whole.multiply_exactly,
            labels,
            (2 * weights).sqrt(),
            low[None],
            LANCZOS_STEPS,
        )
        dual, value = flat.dual[0], flat.value[0]
        ridge = ridge_of(weights, torch.ones_like(low[:1])) / low[:, None]
        residual = residual_of(labels, ridge, dual, value, tau_of(low)).tolist()
        held = next((i for i, found in enumerate(residual) if found > INNER), len(low))
        start = min(held, len(low) - 1)
        self._keep_all(dual[start], value[start])
        return [Solution(dual[i], 0, residual[i]) for i in range(held)]

    def solve(self, cost: float) -> Solution:
        """The solution at this cost, from where the last one ended."""
        price = torch.tensor([cost], dtype=torch.float64)
        self.whole_ridge = ridge_of(self.whole_weights[None], price)[0]
        self.ridge = self.whole_ridge[self.rows]
        self.built = None
        tau = tau_of(price).item()
        newton = 0
        for step in range(NEWTON_STEPS + 1):
            if step == NEWTON_STEPS:  # what is claimed is of all rows and an exact value
                self._keep_all(self._whole_dual())
            scale = tau * self._spread()
            residual = self._residual(scale)
            if step == NEWTON_STEPS:
                break
            if residual <= INNER:
                if self._is_exact():
                    break
                continue
            active, given = self.labels * self.value < 1, self.first_active is not None
            if self.first_active is not None:
                active, self.first_active = self.first_active, None
            changed = int((active != (self.dual != 0)).sum())
            # The active set of the last cost, with which each cost begins, will change a lot.
            many = step == 0 or changed > 0.03 * len(active)
            eta = 1e-2 if many else 1e-3 if changed > 8 else INNER
            stop = max(INNER, min(eta, 0.1 * residual))
            direct = self.stalls or int(active.sum()) <= DIRECT_ROWS
            loose = stop > ROUGH and not direct
            if self.rough and not loose:
                # An exact step from a rough value would seem to lead uphill.
                self.value, self.rough = self.block.multiply_exactly(self.dual), False
                continue
            self._newton_step(active, stop * scale, loose, direct, search=not given)
            newton += 1
            self._shrink()
        return Solution(self._whole_dual(), newton, residual)

    def _spread(self) -> float:
        """Of f over all training rows; while the block is shrunk, as it last was."""
        if self.fixed_spread is not None:
            return self.fixed_spread
        if len(self.rows) == len(self.whole_labels):
            centred = self.value - self.value.mean()
            self.last_spread = float(torch.linalg.vector_norm(centred).item())
        return self.last_spread

    def _is_exact(self) -> bool:
        """Whether the value is in fp64 and no row that was left out is active; mends both."""
        if len(self.rows) == len(self.whole_labels):
            if self.rough:
                self.value, self.rough = self.block.multiply_exactly(self.dual), False
                return False
            return True
        dual = self._whole_dual()
        value = self.whole.multiply_exactly(dual)
        active = self.whole_labels * value < 1
        active[self.rows] = False
        if active.any():
            self._keep_all(dual, value)
            return False
        if self.rough:
            self.value, self.rough = value[self.rows], False
            return False
        centred = value - value.mean()
        self.last_spread = float(torch.linalg.vector_norm(centred).item())
        return True

    def _residual(self, scale: float) -> float:
        """Of the rows that are kept, in units of `scale`."""
        slack = (1 - self.labels * self.value).clamp(min=0)
        rest = torch.linalg.vector_norm(self.ridge * self.dual - self.labels * slack).item()
        return rest / max(scale, 1e-300) if rest else 0.0

    def _whole_dual(self) -> Tensor:
        full = torch.zeros_like(self.whole_labels)
        full[self.rows] = self.dual
        return full

    def _keep_all(self, dual: Tensor, value: Tensor | None = None) -> None:
        self.rows = torch.arange(len(dual))
        self.block, self.labels = self.whole, self.whole_labels
        self.ridge, self.dual = self.whole_ridge, dual
        self.value = self.block.multiply_exactly(dual) if value is None else value
        self.rough, self.built = False, None

    def _shrink(self) -> None:
        """Leave out rows far from their margins when that makes the block a good deal smaller."""
        near = (self.labels * self.value < 1 + NEAR) | (self.dual != 0)
        if int(near.sum()) > 0.75 * len(near):
            return
        self._spread()
        keep = torch.nonzero(near)[:, 0]
        self.block, self.rows = self.block.part(keep), self.rows[keep]
        self.labels, self.ridge = self.labels[keep], self.ridge[keep]
        self.dual, self.value = self.dual[keep], self.value[keep]
        self.built = None

    def _build(self, active: Tensor) -> None:
        """The low-rank preconditioner of `newton`, kept while few rows change."""
        factor = self.block.factor
        every = 1 / (self.ridge.float() + self.block.rest)
        self.inverse = torch.where(active, every, 0.0)
        if self.built is not None and int((self.built != active).sum()) <= len(active) // 50:
            return
        self.built, self.anchored = active, factor * self.inverse[:, None]
        core = (self.anchored.T @ factor).double()
        core.diagonal().add_(1)
        self.core = torch.linalg.inv(core).float()

    def _newton_step(
        self, active: Tensor, limit: float, loose: bool, direct: bool, search: bool
    ) -> None:
        """Move to the Newton point, or with `search` as far towards it as lowers the objective.

        After a `loose` step the value is what the gradients summed up in fp32; a `direct` one
        factors the active block.
        """
        base, value = self._base(active, loose)
        ridge = torch.where(active, self.ridge, 0.0)
        remainder = torch.where(active, self.labels - value - ridge * base, 0.0)
        found, was_rough = None, self.rough
        if not direct:
            self._build(active)
            found = self._gradients(active, ridge.float(), remainder.float(), limit)
            self.stalls = found is None
        if found is not None and loose:
            target, target_value, self.rough = base + found[0], value + found[1], True
        else:
            move = found[0] if found is not None else self._factored(active, remainder)
            target = base + move
            target_value, self.rough = self.block.multiply_exactly(target), False
        if not search or torch.equal(self.labels * target_value < 1, active):
            self.dual, self.value = target, target_value  # the optimum, as far as it was solved
            return
        length = line_search(
            self.labels[None],
            self.ridge[None],
            self.dual[None],
            self.value[None],
            (target - self.dual)[None],
            (target_value - self.value)[None],
        ).item()
        if length != 1:
            target = self.dual + length * (target - self.dual)
            target_value = self.value + length * (target_value - self.value)
            self.rough |= was_rough
        self.dual, self.value = target, target_value

    def _base(self, active: Tensor, loose: bool) -> tuple[Tensor, Tensor]:
        """b on the active rows, to start from, and its f."""
        base = torch.where(active, self.dual, 0.0)
        if torch.equal(base, self.dual):
            return base, self.value
        if loose:
            return base, self.block.multiply(base.float()).double()
        return base, self.block.multiply_exactly(base)

    def _gradients(
        self, active: Tensor, ridge: Tensor, remainder: Tensor, limit: float
    ) -> tuple[Tensor, Tensor] | None:
        """Preconditioned conjugate gradients: the move and its f; None when they take too long."""
        keep = active.float()
        move, move_value = torch.zeros_like(remainder), torch.zeros_like(remainder)
        direction, old = move, torch.ones(())
        for step in range(CG_STEPS):
            if torch.linalg.vector_norm(remainder).item() <= limit:
                return move.double(), move_value.double()
            low = torch.mv(self.anchored, torch.mv(self.core, torch.mv(self.anchored.T, remainder)))
            conditioned = torch.addcmul(self.inverse * remainder, keep, low, value=-1)
            rz = torch.dot(remainder, conditioned)
            if step == 0:
                direction = conditioned
            else:
                direction = torch.addcmul(conditioned, rz / old, direction)
            old = rz
            image = self.block.multiply(direction)
            curved = torch.addcmul(keep * image, ridge, direction)
            length = rz / torch.dot(direction, curved)
            move = torch.addcmul(move, length, direction)
            move_value = torch.addcmul(move_value, length, image)
            remainder = torch.addcmul(remainder, length, curved, value=-1)
        return None

    def _factored(self, active: Tensor, remainder: Tensor) -> Tensor:
        rows = torch.nonzero(active)[:, 0]
        matrix = self.block.exact(rows)
        matrix.diagonal().add_(self.ridge[rows])
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed.item():  # not positive definite in rounding; an LU still solves it
            solved = torch.linalg.solve_ex(matrix, remainder[rows]).result
        else:
            solved = torch.cholesky_solve(remainder[rows, None], factor)[:, 0]
        return torch.zeros_like(remainder).index_copy(0, rows, solved)

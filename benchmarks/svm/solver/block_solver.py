"""One problem on a block of the Gram matrix that is small enough for a cache.

In small draws, and at large costs, few rows violate their margins. Newton's method runs on a
gathered block, and on smaller ones of it as rows fall behind their margins; conjugate gradients
find the direction in fp32; what a solution claims is measured in fp64.
"""

from typing import NamedTuple

import numpy as np

from benchmarks.svm.solver.block import Block
from benchmarks.svm.solver.convergence import TOLERANCE, relative, search_alone, spread_alone
from benchmarks.svm.solver.fits import Bools, Floats, Floats32
from benchmarks.svm.solver.lanczos import LANCZOS_COST, LANCZOS_STEPS, solve_all_active

NEWTON_STEPS = 80
CG_STEPS = 100  # then the active block is factored instead
DIRECT_ROWS = 150  # with fewer active ones, factoring is cheaper than the calls of an iteration
NEAR = 0.1  # rows that satisfy their margin by less are kept at hand
ROUGH = 1e-4  # directions found to more than this need no value in fp64
INNER = 0.3 * TOLERANCE  # so that a residual over more rows stays below TOLERANCE


class Solution(NamedTuple):
    """b on the rows of a block at one cost."""

    dual: Floats  # (n,)
    newton: int  # Newton steps
    residual: float  # over the rows of the block


class BlockSolver:
    """One problem on the rows of a block, at one cost after another.

    `labels` (1, -1), `weights` and `dual` (where to start) are (n,) fp64; `active` (n,) are
    the rows to take as active in the first Newton step, when that is known better than from `dual`.
    `spread` is that of f over all training rows, when the block does not hold them all.
    """

    def __init__(
        self,
        block: Block,
        labels: Floats,
        weights: Floats,
        dual: Floats | None = None,
        active: Bools | None = None,
        spread: float | None = None,
    ) -> None:
        self.whole, self.whole_labels, self.whole_weights = block, labels, weights
        self.first_active, self.fixed_spread = active, spread
        self.whole_ridge = np.zeros_like(labels)
        self.stalls = False  # gradients took too long, as they will at larger costs
        self.value: Floats  # f on the rows that are kept
        self.rough: bool  # the value is only as exact as fp32
        self.built: Bools | None  # the active set that the preconditioner fits
        self._keep_all(np.zeros_like(labels) if dual is None else dual)

    def solve_small(self, costs: Floats) -> list[Solution]:
        """The leading ones of ascending costs (L,) that one Krylov space solves, from nothing.

        What comes next then starts where it starts best.
        """
        labels, weights = self.whole_labels, self.whole_weights
        low = costs[costs <= LANCZOS_COST]
        if not len(low):
            self._keep_all(2 * costs[0] * weights * labels)  # the limit of small costs
            return []

        def multiply(vectors: Floats) -> Floats:
            return self.whole.multiply_exactly(vectors[0])[None]

        scale = np.sqrt(2 * weights)
        flat = solve_all_active(multiply, labels[None], scale[None], low[None], LANCZOS_STEPS)
        duals, values = flat.dual[0], flat.value[0]
        residual = []
        for cost, dual, value in zip(low, duals, values):
            slack = (1 - labels * value).clip(min=0)
            rest = _ridge(weights, cost) * dual - labels * slack
            residual.append(relative(rest, _tau(cost) * spread_alone(value)))
            if residual[-1] > INNER:
                break
        held = len(residual) - (residual[-1] > INNER)
        start = min(held, len(low) - 1)
        self._keep_all(duals[start], values[start])
        return [Solution(duals[i], 0, residual[i]) for i in range(held)]

    def solve(self, cost: float) -> Solution:
        """The solution at this cost, from where the last one ended."""
        self.cost, self.whole_ridge = cost, _ridge(self.whole_weights, cost)
        self.ridge = self.whole_ridge[self.rows]
        self.built = None
        tau = _tau(cost)
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
            active: Bools = self.labels * self.value < 1
            given = self.first_active is not None
            if self.first_active is not None:
                active, self.first_active = self.first_active, None
            changed = np.count_nonzero(active != (self.dual != 0))
            # The active set of the last cost, with which each cost begins, will change a lot.
            many = step == 0 or changed > 0.03 * len(active)
            eta = 1e-2 if many else 1e-3 if changed > 8 else INNER
            stop = max(INNER, min(eta, 0.1 * residual))
            few = int(np.count_nonzero(active)) <= DIRECT_ROWS
            direct = self.stalls or few or self.block.factored
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
            self.last_spread = spread_alone(self.value)
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
        self.last_spread = spread_alone(value)
        return True

    def _residual(self, scale: float) -> float:
        """Of the rows that are kept, in units of `scale`."""
        slack = (1 - self.labels * self.value).clip(min=0)
        return relative(self.ridge * self.dual - self.labels * slack, scale)

    def _whole_dual(self) -> Floats:
        full = np.zeros_like(self.whole_labels)
        full[self.rows] = self.dual
        return full

    def _keep_all(self, dual: Floats, value: Floats | None = None) -> None:
        self.rows = np.arange(len(dual))
        self.block, self.labels = self.whole, self.whole_labels
        self.ridge, self.dual = self.whole_ridge, dual
        self.value = self.block.multiply_exactly(dual) if value is None else value
        self.rough, self.built = False, None

    def _shrink(self) -> None:
        """Leave out rows far from their margins when that makes the block a good deal smaller."""
        near = (self.labels * self.value < 1 + NEAR) | (self.dual != 0)
        if np.count_nonzero(near) > 0.75 * len(near):
            return
        self._spread()
        keep = np.flatnonzero(near)
        self.block, self.rows = self.block.part(keep), self.rows[keep]
        self.labels, self.ridge = self.labels[keep], self.ridge[keep]
        self.dual, self.value = self.dual[keep], self.value[keep]
        self.built = None

    def _build(self, active: Bools) -> None:
        """The low-rank preconditioner of `newton`, kept while few rows change."""
        factor = self.block.factor
        every = 1 / (self.ridge.astype(np.float32) + self.block.rest)
        self.inverse = np.where(active, every, np.float32(0))
        if self.built is not None and (self.built != active).sum() <= len(active) // 50:
            return
        self.built, self.anchored = active, factor * self.inverse[:, None]
        core = (self.anchored.T @ factor).astype(np.float64)
        core[np.diag_indices(len(core))] += 1
        self.core = np.linalg.inv(core).astype(np.float32)

    def _newton_step(
        self, active: Bools, limit: float, loose: bool, direct: bool, search: bool
    ) -> None:
        """Move to the Newton point, or with `search` as far towards it as lowers the objective.

        After a `loose` step the value is what the gradients summed up in fp32; a `direct` one
        factors the system of the active rows.
        """
        base, value = self._base(active, loose)
        ridge = np.where(active, self.ridge, 0.0)
        remainder = np.where(active, self.labels - value - ridge * base, 0.0)
        found, was_rough = None, self.rough
        if not direct:
            self._build(active)
            keep, narrow = active.astype(np.float32), ridge.astype(np.float32)
            found = self._gradients(keep, narrow, remainder.astype(np.float32), limit)
            self.stalls = found is None
        if found is not None and loose:
            target, target_value, self.rough = base + found[0], value + found[1], True
        else:
            if found is None:
                weights = self.whole_weights[self.rows]
                move = self.block.solve(active, weights, self.cost, remainder)
            else:
                move = found[0]
            target = base + move
            target_value, self.rough = self.block.multiply_exactly(target), False
        if not search or np.array_equal(self.labels * target_value < 1, active):
            self.dual, self.value = target, target_value  # the optimum, as far as it was solved
            return
        shift, shift_value = target - self.dual, target_value - self.value
        length = search_alone(self.labels, self.ridge, self.dual, self.value, shift, shift_value)
        if length != 1:
            target = self.dual + length * shift
            target_value = self.value + length * shift_value
            self.rough |= was_rough
        self.dual, self.value = target, target_value

    def _base(self, active: Bools, loose: bool) -> tuple[Floats, Floats]:
        """b on the active rows, to start from, and its f."""
        base = np.where(active, self.dual, 0.0)
        if np.array_equal(base, self.dual):
            return base, self.value
        if loose:
            return base, self.block.multiply(base.astype(np.float32)).astype(np.float64)
        return base, self.block.multiply_exactly(base)

    def _gradients(
        self, keep: Floats32, ridge: Floats32, remainder: Floats32, limit: float
    ) -> tuple[Floats, Floats] | None:
        """Preconditioned conjugate gradients: the move and its f; None when they take too long."""
        move, move_value = np.zeros_like(remainder), np.zeros_like(remainder)
        direction, old = remainder, 1.0
        anchored, kept = self.anchored, keep[:, None] * self.anchored
        for step in range(CG_STEPS):
            if np.linalg.norm(remainder) <= limit:
                return move.astype(np.float64), move_value.astype(np.float64)
            low = kept @ (self.core @ (remainder @ anchored))
            conditioned = self.inverse * remainder - low
            rz = remainder @ conditioned
            direction = conditioned if step == 0 else conditioned + np.float32(rz / old) * direction
            old = float(rz)
            image = self.block.multiply(direction)
            curved = keep * image + ridge * direction
            length = rz / (direction @ curved)
            move += length * direction
            move_value += length * image
            remainder = remainder - length * curved
        return None


def _ridge(weights: Floats, cost: float) -> Floats:
    """D = 1 / (2 C w) of rows that are all trained on."""
    found: Floats = 1 / (2 * cost * weights)
    return found


def _tau(cost: float) -> float:
    return 1 + 1 / (200 * cost)

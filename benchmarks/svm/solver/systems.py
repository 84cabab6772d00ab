"""The Newton systems of the batched solver, and the conjugate gradients that solve them.

(K_II + D_II) b_I = y_I on the active set I of each problem; see `newton` for the symbols.
"""

import torch
from torch import Tensor

from benchmarks.svm.solver.convergence import line_search, spread_of
from benchmarks.svm.solver.kernel import Kernel
from benchmarks.svm.solver.precondition import Preconditioner
from benchmarks.svm.solver.problems import State


def active_rows(state: State, rows: Tensor) -> Tensor:
    """Which training rows violate their margins, (m, N) bool, of problems `rows` (m,)."""
    labels = state.labels[rows]
    return (labels * state.value[rows] < 1) & (labels != 0)


class Systems:
    """Begins and advances the Newton systems of problems `rows` (m,) int64 of a `State`."""

    def __init__(self, kernel: Kernel, factor: Tensor, tolerance: float) -> None:
        self.kernel, self.factor, self.tolerance = kernel, factor, tolerance
        self.preconditioner = Preconditioner(factor, kernel.diagonal)

    def begin(self, state: State, rows: Tensor, residual: Tensor) -> None:
        """Fix the active set; `residual` (m,) says how exactly the system is worth solving."""
        if not len(rows):
            return
        labels, value = state.labels[rows], state.value[rows]
        active = active_rows(state, rows)
        changed = (active != state.active[rows]).sum(1)
        state.active[rows] = active
        state.ridge32[rows] = torch.where(active, state.ridge[rows], 0.0).float()
        train = labels != 0
        spread = spread_of(value, train)
        share = changed / train.sum(1)
        eta = torch.full_like(spread, 1e-2)
        eta[share < 0.03] = 3e-3
        eta[share < 0.003] = 3e-4
        eta[changed <= 8] = 1e-9
        stop = torch.minimum(eta, 0.1 * residual).clamp(min=0.3 * self.tolerance)
        state.limit[rows] = stop * state.tau[rows] * spread
        self.preconditioner.build(state, rows, share)
        dual = state.dual[rows]
        outside = ((dual != 0) & ~active).any(1)
        state.base_dual[rows] = torch.where(active, dual, 0.0)
        state.steps[rows] = 0
        state.fresh[rows] = outside
        self._guess(state, rows[outside])
        ready = rows[~outside]
        if len(ready):
            self.begin_gradients(state, ready, state.value[ready])

    def _guess(self, state: State, rows: Tensor) -> None:
        """Where rows have left the active set, f must be multiplied anew: take a step with it.

        What the rows that left did to f is estimated by the low-rank part of K, and one
        preconditioned step is taken from there, so that the product is not spent on standing still.
        """
        if not len(rows):
            return
        base = state.base_dual[rows]
        left = (state.dual[rows] - base).float()
        lost = (left @ self.factor) @ self.factor.T
        rest = state.labels[rows] - state.value[rows] + lost - state.ridge[rows] * base
        state.remainder[rows] = torch.where(state.active[rows], rest, 0.0).float()
        step = self.preconditioner.apply(state, rows)
        state.base_dual[rows] = base + step.double()
        state.direction[rows] = step - left
        state.remainder[rows] = torch.inf

    def begin_gradients(self, state: State, rows: Tensor, value: Tensor) -> None:
        """Start conjugate gradients from `base_dual`, whose f is `value` (m, N) fp64."""
        base = state.base_dual[rows]
        state.base_value[rows] = value
        rest = state.labels[rows] - value - state.ridge[rows] * base
        state.remainder[rows] = torch.where(state.active[rows], rest, 0.0).float()
        state.move[rows] = 0
        state.move_product[rows] = 0
        conditioned = self.preconditioner.apply(state, rows)
        state.direction[rows] = conditioned
        state.rz[rows] = (state.remainder[rows] * conditioned).sum(1)
        state.fresh[rows] = False

    def step(self, state: State, product: Tensor, image: Tensor, going: Tensor) -> None:
        """One step of all; `product` and `image` are of the direction, X~ X~' and K times it."""
        direction = state.direction
        curved = torch.addcmul(image * state.active, direction, state.ridge32)
        curvature = (direction * curved).sum(1)
        length = torch.where(going & (curvature > 0), state.rz / curvature, 0.0)[:, None]
        state.move.addcmul_(length, direction)
        state.move_product.addcmul_(length, product)
        state.remainder.addcmul_(length, curved, value=-1)
        conditioned = self.preconditioner.apply(state, slice(None))
        rz = (state.remainder * conditioned).sum(1)
        ratio = torch.where(going & (state.rz > 0), rz / state.rz, 0.0)
        state.direction = torch.where(
            going[:, None], torch.addcmul(conditioned, ratio[:, None], direction), direction
        )
        state.rz = torch.where(going, rz, state.rz)
        state.steps += going

    def move(self, state: State, rows: Tensor) -> None:
        """Move to the Newton point, or as far towards it as lowers the objective."""
        move = state.move[rows].double()
        target = state.base_dual[rows] + move
        # What all rows share comes from the sum of the moves: rounded step by step it would drift.
        target_value = state.base_value[rows] + self.kernel.add_lift(state.move_product[rows], move)
        state.newton[rows] += 1
        labels = state.labels[rows]
        moved = (((labels * target_value < 1) & (labels != 0)) != state.active[rows]).any(1)
        # Where the active set stands, the target is the optimum, and rounding may fool a search.
        search = torch.nonzero(moved)[:, 0]
        if len(search):
            there = rows[search]
            dual, value = state.dual[there], state.value[there]
            shift, shift_value = target[search] - dual, target_value[search] - value
            ridge = state.ridge[there]
            length = line_search(labels[search], ridge, dual, value, shift, shift_value)[:, None]
            full = length == 1
            target[search] = torch.where(full, target[search], dual + length * shift)
            target_value[search] = torch.where(
                full, target_value[search], value + length * shift_value
            )
        state.dual[rows], state.value[rows] = target, target_value

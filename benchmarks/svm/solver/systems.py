"""The Newton systems of the batched solver, and the conjugate gradients that solve them.

(K_II + D_II) b_I = y_I on the active set I of each problem; see `newton` for the symbols. The
preconditioner is a diagonal and the leading part of K: with F F' close to that part, E the diagonal
of what is left, and active rows e = active / (D + E),

    M^-1 r = e r - e F S^-1 F'(e r),    S = I + F' diag(e) F    (Woodbury).
"""

import numpy as np

from benchmarks.svm.solver.convergence import line_search, spread_of
from benchmarks.svm.solver.fits import Bools, Floats, Floats32, Ints
from benchmarks.svm.solver.kernel import Kernel
from benchmarks.svm.solver.problems import State

MANY = 0.7  # of all rows: a sum over more active ones is over all, the others with weight 0


def active_rows(state: State, rows: Ints) -> Bools:
    """Which training rows violate their margins, (m, N), of problems `rows` (m,)."""
    labels = state.labels[rows]
    found: Bools = (labels * state.value[rows] < 1) & (labels != 0)
    return found


class Systems:
    """Begins and advances the Newton systems of problems `rows` (m,) of a `State`."""

    def __init__(self, kernel: Kernel, factor: Floats32, tolerance: float) -> None:
        self.kernel, self.factor, self.tolerance = kernel, factor, tolerance
        self.preconditioner = Preconditioner(factor, kernel.diagonal)

    def begin(self, state: State, rows: Ints, residual: Floats) -> None:
        """Fix the active set; `residual` (m,) says how exactly the system is worth solving."""
        if not len(rows):
            return
        value = state.value[rows]
        active = active_rows(state, rows)
        changed = (active != state.active[rows]).sum(1)
        state.active[rows] = state.keep[rows] = active
        state.ridge32[rows] = np.where(active, state.ridge[rows], 0.0)
        train = state.labels[rows] != 0
        spread = spread_of(value, train)
        share = changed / train.sum(1)
        eta = np.full_like(spread, 1e-2)
        eta[share < 0.03] = 3e-3
        eta[share < 0.003] = 3e-4
        eta[changed <= 8] = 1e-9
        stop = np.minimum(eta, 0.1 * residual).clip(min=0.3 * self.tolerance)
        state.limit[rows] = stop * state.tau[rows] * spread
        self.preconditioner.build(state, rows, share)
        dual = state.dual[rows]
        outside = ((dual != 0) & ~active).any(1)
        state.base_dual[rows] = np.where(active, dual, 0.0)
        state.steps[rows] = 0
        state.fresh[rows] = outside
        self._guess(state, rows[outside])
        ready = rows[~outside]
        if len(ready):
            self.begin_gradients(state, ready, state.value[ready])

    def _guess(self, state: State, rows: Ints) -> None:
        """Where rows have left the active set, f must be multiplied anew: take a step with it.

        What the rows that left did to f is estimated by the low-rank part of K, and one
        preconditioned step is taken from there, so that the product is not spent on standing still.
        """
        if not len(rows):
            return
        base = state.base_dual[rows]
        left = (state.dual[rows] - base).astype(np.float32)
        lost = (left @ self.factor) @ self.factor.T
        rest = state.labels[rows] - state.value[rows] + lost - state.ridge[rows] * base
        state.remainder[rows] = np.where(state.active[rows], rest, 0.0)
        step = self.preconditioner.apply(state, rows)
        state.base_dual[rows] = base + step
        state.direction[rows] = step - left

    def begin_gradients(self, state: State, rows: Ints, value: Floats) -> None:
        """Start conjugate gradients from `base_dual`, whose f is `value` (m, N)."""
        base = state.base_dual[rows]
        state.base_value[rows] = value
        rest = state.labels[rows] - value - state.ridge[rows] * base
        state.remainder[rows] = np.where(state.active[rows], rest, 0.0)
        state.move[rows] = 0
        state.move_product[rows] = 0
        conditioned = self.preconditioner.apply(state, rows)
        state.direction[rows] = conditioned
        state.rz[rows] = np.vecdot(state.remainder[rows], conditioned)
        state.fresh[rows] = False

    def step(self, state: State, product: Floats32, image: Floats32, going: Bools) -> None:
        """One step of all; `product` and `image` are of the direction, X~ X~' and K times it.

        `image` is overwritten.
        """
        direction = state.direction
        image *= state.keep
        scratch = direction * state.ridge32
        curved = np.add(image, scratch, out=image)
        curvature = np.vecdot(direction, curved)
        length = np.divide(
            state.rz, curvature, out=np.zeros_like(state.rz), where=going & (curvature > 0)
        )[:, None]
        state.move += np.multiply(length, direction, out=scratch)
        state.move_product += np.multiply(length, product, out=scratch)
        state.remainder -= np.multiply(length, curved, out=scratch)
        conditioned = self.preconditioner.apply(state, slice(None))
        rz = np.vecdot(state.remainder, conditioned)
        ratio = np.divide(rz, state.rz, out=np.zeros_like(rz), where=going & (state.rz > 0))
        conditioned += np.multiply(ratio[:, None], direction, out=scratch)
        state.direction = np.where(going[:, None], conditioned, direction)
        state.rz = np.where(going, rz, state.rz)
        state.steps += going

    def move(self, state: State, rows: Ints) -> None:
        """Move to the Newton point, or as far towards it as lowers the objective."""
        move = state.move[rows].astype(np.float64)
        target = state.base_dual[rows] + move
        # What all rows share comes from the sum of the moves: rounded step by step it would drift.
        target_value = state.base_value[rows] + self.kernel.add_lift(state.move_product[rows], move)
        state.newton[rows] += 1
        labels = state.labels[rows]
        moved = (((labels * target_value < 1) & (labels != 0)) != state.active[rows]).any(1)
        # Where the active set stands, the target is the optimum, and rounding may fool a search.
        search = np.flatnonzero(moved)
        if len(search):
            there = rows[search]
            dual, value = state.dual[there], state.value[there]
            shift, shift_value = target[search] - dual, target_value[search] - value
            ridge = state.ridge[there]
            length = line_search(labels[search], ridge, dual, value, shift, shift_value)
            short = length != 1
            shift *= length[:, None]
            shift_value *= length[:, None]
            target[search[short]] = (dual + shift)[short]
            target_value[search[short]] = (value + shift_value)[short]
        state.dual[rows], state.value[rows] = target, target_value


class Preconditioner:
    """For problems that each have their own active rows and cost.

    `factor` is F (N, r) fp32 of `kernel.eigenspace`, `diagonal` that of K, (N,) fp64.
    """

    def __init__(self, factor: Floats32, diagonal: Floats) -> None:
        self.factor = factor
        self.rest = (diagonal - np.square(factor.astype(np.float64)).sum(1)).clip(min=0)

    def apply(self, state: State, rows: Ints | slice) -> Floats32:
        """M^-1 of the remainders, (m, N) fp32."""
        remainder, anchored = state.remainder[rows], state.anchored[rows]
        inner = (remainder * anchored) @ self.factor
        low: Floats32 = np.matmul(inner[:, None], state.core[rows])[:, 0] @ self.factor.T
        low *= anchored
        low *= state.keep[rows]
        found: Floats32 = np.subtract(state.inverse[rows] * remainder, low, out=low)
        return found

    def build(self, state: State, rows: Ints, share: Floats) -> None:
        """Fit it to the active rows, of which a share (m,) changed.

        While few rows change, S and the e inside keep the rows they were built for; rows that
        came since have only the diagonal part, which leaves the preconditioner positive.
        """
        active = state.active[rows]
        diagonal = np.where(active, state.ridge[rows] + self.rest, np.inf)
        state.inverse[rows] = 1 / diagonal
        anew = ~state.built[rows] | (share > 0.1)
        for row, few in zip(rows[anew].tolist(), (active[anew].mean(1) < MANY).tolist()):
            part, scale = self.factor, state.inverse[row]
            if few:
                members = np.flatnonzero(state.active[row])
                part, scale = part[members], scale[members]
            core = ((part * scale[:, None]).T @ part).astype(np.float64)
            core[np.diag_indices(len(core))] += 1
            state.core[row] = np.linalg.inv(core)
        state.anchored[rows[anew]] = state.inverse[rows[anew]]
        state.built[rows[anew]] = True

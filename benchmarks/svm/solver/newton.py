"""Newton's method on one Gram matrix for many SVMs at once, each along its ascending costs.

Problem: minimise 1/2 w'w + sum_i C_i max(0, 1 - y_i f_i)^2 with f = K b, w = X' b, C_i = C times
the class weight and D_ii = 1 / (2 C_i). On the active set I = {i in training: y_i f_i < 1} the
optimum solves (K_II + D_II) b_I = y_I and b is zero elsewhere; Newton's method repeats that until I
stands still, which makes the solution exact. A problem is solved when

    ||D b - y max(0, 1 - y f)||  <=  TOLERANCE * tau * ||f - mean f||,    tau = 1 + 1 / (200 C),

measured against the spread of f because at a small cost f is nearly constant and only its spread
ranks. Each problem moves on by itself (conjugate-gradient step, Newton step, next cost), while
all of them share one product with the Gram matrix per step.
"""

from dataclasses import fields
from functools import partial

import numpy as np

from benchmarks.svm.solver.compact import Deliver, Parked
from benchmarks.svm.solver.convergence import (
    COMPACT_COST,
    TOLERANCE,
    line_search,
    norms,
    residual_of,
    ridge_of,
    tau_of,
)
from benchmarks.svm.solver.fits import Bools, Floats, Floats32, Ints
from benchmarks.svm.solver.kernel import Kernel
from benchmarks.svm.solver.lanczos import LANCZOS_COST, LANCZOS_STEPS, Flat, solve_all_active
from benchmarks.svm.solver.problems import Problems, State
from benchmarks.svm.solver.systems import Systems, active_rows

COMPACT_SHARE = 0.12  # of all rows: with fewer active ones a problem is solved on a block of them
LOOSE = 5e-2  # problems above COMPACT_COST go to a block once their residual is this small
REFINING_STEPS = 4  # Newton steps that are spent on it
NEWTON_STEPS = 20  # per cost; then the problem goes on on a block, where sums are fp64
ALONE = 4  # so few problems do not fill a product with the whole matrix
CG_STEPS = 80  # per Newton step; then likewise


class Group:
    """The problems `chosen` (m,) of all; `threads` make its products, one does all else."""

    def __init__(
        self,
        kernel: Kernel,
        factor: Floats32,
        problems: Problems,
        chosen: Ints,
        deliver: Deliver,
        threads: int,
    ) -> None:
        self.kernel, self.factor, self.chosen = kernel, factor, chosen
        self.problems, self.deliver, self.threads = problems.some(chosen), deliver, threads
        self.systems = Systems(kernel, factor, problems.tolerance)
        self.compact_rows = int(COMPACT_SHARE * kernel.size)
        self.parked: list[Parked] = []
        self.flat: Flat | None = None
        self.products = 0
        self.stopped = False  # by another thread
        self.lift32 = kernel.lift.astype(np.float32)

    def run(self) -> None:
        """Solve them, but for those that are `parked` for blocks."""
        state = self._start()
        while len(state.index) and not self.stopped:
            finished = ~state.running
            if not finished.all():
                self._advance(state)
                finished = ~state.running
            gone = int(finished.sum())
            if gone and (gone == len(finished) or 8 * gone >= len(finished)):
                state = state.take(np.flatnonzero(~finished))

    def _start(self) -> State:
        count = len(self.problems.labels)
        step = np.zeros(count, np.int64)
        if self.problems.start is None:
            dual, value = self._small_costs(step)
        elif self.problems.start_value is not None:
            dual, value = self.problems.start.copy(), self.problems.start_value.copy()
        else:
            dual = self.problems.start.astype(np.float32).astype(np.float64)
            value = self.kernel.multiply(dual, self.threads)
        state = State.begin(self.problems, step, dual, value, self.factor.shape[1])
        rows = self._park(state, np.flatnonzero(state.running))
        self._set_cost(state, rows)
        self._start_flat(state, rows)
        self._next_newton(state, rows)
        return state

    def _park(self, state: State, rows: Ints) -> Ints:
        """Take out the problems that a block suits better; returns the others."""
        if self.problems.refining:
            return rows
        few = active_rows(state, rows).sum(1) <= self.compact_rows
        self._take_out(state, rows[few])
        others: Ints = rows[~few]
        return others

    def _take_out(self, state: State, rows: Ints) -> None:
        if not len(rows):
            return
        taken = {f.name: getattr(state, f.name)[rows] for f in fields(Parked)}
        self.parked.append(Parked(**taken | {"index": self.chosen[state.index[rows]]}))
        state.running[rows] = False
        state.direction[rows] = 0

    def _small_costs(self, step: Ints) -> tuple[Floats, Floats]:
        """Deliver what the ridge solves exactly; the rest of each chain starts from the next."""
        problems = self.problems
        scale = np.sqrt(2 * problems.weights)
        width = max(1, int((problems.costs <= LANCZOS_COST).any(0).sum()))
        costs = problems.costs[:, :width]
        kernel = self.kernel
        multiply = kernel.multiply if kernel.exact is None else kernel.multiply_exactly
        shared = partial(multiply, threads=self.threads)
        flat = solve_all_active(shared, problems.labels, scale, costs, LANCZOS_STEPS)
        self.products += LANCZOS_STEPS
        going = np.ones_like(step, dtype=np.bool_)
        for column in range(width):
            dual, value = flat.dual[:, column], flat.value[:, column]
            ridge = ridge_of(problems.weights, costs[:, column])
            residual = residual_of(problems.labels, ridge, dual, value, tau_of(costs[:, column]))
            going &= residual <= TOLERANCE
            rows = np.flatnonzero(going)
            if len(rows):
                none = np.zeros_like(rows)
                found = (dual[rows], value[rows], residual[rows], none)
                self.deliver(self.chosen[rows], step[rows], *found)
                step[rows] += 1
        at = step.clip(max=width - 1)
        every = np.arange(len(step))
        self.flat = flat
        return flat.dual[every, at], flat.value[every, at]

    def _advance(self, state: State) -> None:
        vectors = state.direction
        product = self.kernel.product(vectors, self.threads)
        self.products += 1
        total = vectors.sum(1, dtype=np.float64)
        level = vectors @ self.lift32 + self.kernel.constant * total
        image = total.astype(np.float32)[:, None] * self.lift32
        image += level.astype(np.float32)[:, None]
        image += product
        running = state.running
        self.systems.step(state, product, image, running & ~state.fresh)
        fresh = np.flatnonzero(running & state.fresh)
        if len(fresh):
            step = state.base_dual[fresh] - state.dual[fresh]  # of which the direction is fp32
            value = state.value[fresh] + self.kernel.add_lift(product[fresh], step)
            self.systems.begin_gradients(state, fresh, value)
        ready, late = norms(state.remainder) <= state.limit, state.steps >= CG_STEPS
        if self.problems.refining:
            ready |= late
        rows = np.flatnonzero(running & ready)
        if len(rows):
            self.systems.move(state, rows)
            self._next_newton(state, rows)
        self._take_out(state, np.flatnonzero(running & ~ready & late))

    def _set_cost(self, state: State, rows: Ints) -> None:
        cost = self.problems.costs[state.index[rows], state.step[rows]]
        state.ridge[rows] = ridge_of(state.weights[rows], cost)
        state.tau[rows] = tau_of(cost)
        state.newton[rows] = 0
        state.built[rows] = False
        state.active[rows] = False

    def _foresee(self, state: State, rows: Ints) -> None:
        """Go on along the way from the cost before, as far as that lowers the objective."""
        dual, value = state.dual[rows], state.value[rows]
        known = np.flatnonzero((state.last_dual[rows] != 0).any(1))
        if len(known):
            there = rows[known]
            shift = dual[known] - state.last_dual[there]
            shift_value = value[known] - state.last_value[there]
            labels, ridge = state.labels[there], state.ridge[there]
            length = line_search(labels, ridge, dual[known], value[known], shift, shift_value)
            state.dual[there] += length[:, None] * shift
            state.value[there] += length[:, None] * shift_value
        state.last_dual[rows], state.last_value[rows] = dual, value
        self._start_flat(state, rows)

    def _start_flat(self, state: State, rows: Ints) -> None:
        """Start from the ridge solution of the same cost where that is nearer than the last."""
        if self.flat is None:
            return
        rows = rows[state.step[rows] < self.flat.dual.shape[1]]
        index, step = state.index[rows], state.step[rows]
        labels, ridge, tau = state.labels[rows], state.ridge[rows], state.tau[rows]
        dual, value = self.flat.dual[index, step], self.flat.value[index, step]
        last = residual_of(labels, ridge, state.dual[rows], state.value[rows], tau)
        better = residual_of(labels, ridge, dual, value, tau) < last
        state.dual[rows[better]] = dual[better]
        state.value[rows[better]] = value[better]

    def _next_newton(self, state: State, rows: Ints) -> None:
        """Deliver what is solved and move it to its next cost; start the next Newton steps."""
        while len(rows):
            residual = self._residual(state, rows)
            over = residual <= self.problems.tolerance
            if self.problems.refining:
                over |= state.newton[rows] >= REFINING_STEPS
            else:  # the values of costly problems drift in fp32: they end on a block
                costs = self.problems.costs[state.index[rows], state.step[rows]]
                over &= costs <= COMPACT_COST
            stuck = ~over & self._is_stuck(state, rows, residual)
            self._take_out(state, rows[stuck])
            more = ~over & ~stuck
            self.systems.begin(state, rows[more], residual[more])
            rows, residual = rows[over], residual[over]
            if not len(rows):
                return
            self.deliver(
                self.chosen[state.index[rows]],
                state.step[rows],
                state.dual[rows],
                state.value[rows],
                residual,
                state.newton[rows],
            )
            state.step[rows] += 1
            more = state.step[rows] < self.problems.costs.shape[1]
            state.direction[rows[~more]] = 0
            state.running[rows[~more]] = False
            rows = self._park(state, rows[more])
            self._set_cost(state, rows)
            self._foresee(state, rows)

    def _residual(self, state: State, rows: Ints) -> Floats:
        """Of each problem, (m,); of values in fp64 where that is affordable, which they then have.

        Else those at costs up to COMPACT_COST are of fp32 sums with the Gram matrix.
        """

        def measure(rows: Ints) -> Floats:
            labels, ridge, tau = state.labels[rows], state.ridge[rows], state.tau[rows]
            return residual_of(labels, ridge, state.dual[rows], state.value[rows], tau)

        residual = measure(rows)
        if self.kernel.exact is not None and not self.problems.refining:
            claimed = residual <= self.problems.tolerance
            if claimed.any():
                over = rows[claimed]
                state.value[over] = self.kernel.multiply_exactly(state.dual[over], self.threads)
                residual[claimed] = measure(over)
        return residual

    def _is_stuck(self, state: State, rows: Ints, residual: Floats) -> Bools:
        """Which problems would go on better on a block, (m,) bool."""
        if self.problems.refining:
            return np.zeros_like(rows, dtype=np.bool_)
        newton = state.newton[rows]
        few = active_rows(state, rows).sum(1) <= self.compact_rows
        costly = self.problems.costs[state.index[rows], state.step[rows]] > COMPACT_COST
        alone = int(state.running.sum()) <= ALONE
        ending = costly & ((residual <= LOOSE) | alone)
        stuck: Bools = (newton >= NEWTON_STEPS) | ending | (few & (newton > 0))
        return stuck

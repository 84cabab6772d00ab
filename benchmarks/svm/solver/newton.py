"""Squared-hinge SVMs on one Gram matrix: many problems at once, each along its ascending costs.

Problem: minimise 1/2 w'w + sum_i C_i max(0, 1 - y_i f_i)^2 with f = K b, w = X' b, C_i = C times
the class weight and D_ii = 1 / (2 C_i). On the active set I = {i in training: y_i f_i < 1} the
optimum solves (K_II + D_II) b_I = y_I and b is zero elsewhere; Newton's method repeats that until I
stands still, which makes the solution exact. A problem is solved when

    ||D b - y max(0, 1 - y f)||  <=  TOLERANCE * tau * ||f - mean f||,    tau = 1 + 1 / (200 C),

measured against the spread of f because at a small cost f is nearly constant and only its spread
ranks. Each problem moves on by itself (conjugate-gradient step, Newton step, next cost), while
all of them share one product with the Gram matrix per step.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from benchmarks.svm.solver.compact import Parked, finish
from benchmarks.svm.solver.convergence import (
    TOLERANCE,
    residual_of,
    ridge_of,
    tau_of,
)
from benchmarks.svm.solver.kernel import Kernel
from benchmarks.svm.solver.lanczos import LANCZOS_COST, LANCZOS_STEPS, Flat, solve_all_active
from benchmarks.svm.solver.problems import Problems, State
from benchmarks.svm.solver.systems import Systems, active_rows

COMPACT_SHARE = 0.2  # of all rows: with fewer active ones a problem is solved on a block of them
COMPACT_COST = 0.5  # above this an ill-conditioned problem needs sums in fp64 and goes to a block
LOOSE = 5e-2  # once its residual is this small
REFINING_STEPS = 4  # Newton steps that are spent on it
NEWTON_STEPS = 20  # per cost; then the problem goes on on a block, where sums are fp64
ALONE = 4  # so few problems do not fill a product with the whole matrix
CG_STEPS = 80  # per Newton step; then likewise

Solved = Callable[[Tensor, Tensor, Tensor, Tensor], None]


@dataclass(frozen=True)
class Report:
    """How each problem at each cost ended."""

    residual: Tensor  # (M, L) float64, in units of the tolerance's right-hand side
    newton: Tensor  # (M, L) int64: Newton steps
    products: int  # products with the Gram matrix


def solve(
    kernel: Kernel,
    factor: Tensor,
    problems: Problems,
    solved: Solved,
    tick: Callable[[int], None] = lambda count: None,
    need_values: bool = True,
) -> Report:
    """Solve all problems; `solved(problem, cost, dual, value)` receives each solution once.

    `factor` is F of `kernel.eigenspace`. `solved` gets (k,) indices and (k, N) fp64 tensors;
    `tick` gets the number of solutions at once. Unsolved ones are delivered as they are and marked
    in the report. With `need_values=False` nobody reads the values: they may all be of fp32 sums.
    """
    return _Solver(kernel, factor, problems, solved, tick, need_values).run()


class _Solver:
    def __init__(
        self,
        kernel: Kernel,
        factor: Tensor,
        problems: Problems,
        solved: Solved,
        tick: Callable[[int], None],
        need_values: bool,
    ) -> None:
        self.kernel, self.factor, self.problems = kernel, factor, problems
        self.solved, self.tick, self.need_values = solved, tick, need_values
        self.systems = Systems(kernel, factor, problems.tolerance)
        shape = problems.costs.shape
        size = len(kernel.gram)
        self.compact_rows = int(COMPACT_SHARE * size)
        self.parked: list[Parked] = []
        self.flat: Flat | None = None
        self.residual = torch.full(shape, torch.inf, dtype=torch.float64)
        self.newton = torch.zeros(shape, dtype=torch.int64)
        self.products = 0
        self.lift32 = kernel.lift.float()

    def run(self) -> Report:
        state = self._start()
        while len(state.index):
            finished = ~state.running
            if not finished.all():
                self._advance(state)
                finished = ~state.running
            gone = int(finished.sum())
            if gone and (gone == len(finished) or 8 * gone >= len(finished)):
                state = state.take(torch.nonzero(~finished)[:, 0])
        self._finish()
        return Report(self.residual, self.newton, self.products)

    def _start(self) -> State:
        count = len(self.problems.labels)
        step = torch.zeros(count, dtype=torch.int64)
        if self.problems.start is None:
            dual, value = self._small_costs(step)
        elif self.problems.start_value is not None:
            dual, value = self.problems.start.clone(), self.problems.start_value.clone()
        else:
            dual = self.problems.start.float().double()
            value = self.kernel.multiply(dual)
        state = State.begin(self.problems, step, dual, value, self.factor.shape[1])
        rows = self._park(state, torch.nonzero(state.running)[:, 0])
        self._set_cost(state, rows)
        self._next_newton(state, rows)
        return state

    def _park(self, state: State, rows: Tensor) -> Tensor:
        """Take out the problems that a block suits better; returns the others."""
        if self.problems.refining:
            return rows
        few = active_rows(state, rows).sum(1) <= self.compact_rows
        self._take_out(state, rows[few])
        return rows[~few]

    def _take_out(self, state: State, rows: Tensor) -> None:
        if not len(rows):
            return
        names = [f.name for f in fields(Parked)]
        self.parked.append(Parked(**{name: getattr(state, name)[rows] for name in names}))
        state.running[rows] = False
        state.direction[rows] = 0

    def _finish(self) -> None:
        """Solve what was parked."""
        if not self.parked:
            return
        names = [f.name for f in fields(Parked)]
        joined = {name: torch.cat([getattr(p, name) for p in self.parked]) for name in names}

        def deliver(
            index: Tensor,
            step: Tensor,
            dual: Tensor,
            value: Tensor,
            residual: Tensor,
            newton: Tensor,
        ) -> None:
            self.newton[index, step] = newton
            self._deliver(index, step, dual, value, residual)

        self.products += finish(
            self.kernel,
            self.factor,
            Parked(**joined),
            self.problems.costs,
            deliver,
            self.need_values,
        )

    def _small_costs(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Deliver what the ridge solves exactly; the rest of each chain starts from the next."""
        problems = self.problems
        scale = (2 * problems.weights).sqrt()
        width = int((problems.costs <= LANCZOS_COST).any(0).sum())
        width = max(1, width)
        costs = problems.costs[:, :width]
        kernel = self.kernel
        multiply = kernel.multiply if kernel.exact is None else kernel.multiply_exactly
        flat = solve_all_active(multiply, problems.labels, scale, costs, LANCZOS_STEPS)
        self.products += LANCZOS_STEPS
        going = torch.ones_like(step, dtype=torch.bool)
        for column in range(width):
            dual, value = flat.dual[:, column], flat.value[:, column]
            ridge = ridge_of(problems.weights, costs[:, column])
            residual = residual_of(problems.labels, ridge, dual, value, tau_of(costs[:, column]))
            rows = torch.nonzero(going & (residual <= TOLERANCE))[:, 0]
            going &= residual <= TOLERANCE
            if len(rows):
                self._deliver(rows, step[rows], dual[rows], value[rows], residual[rows])
                step[rows] += 1
        at = step.clamp(max=width - 1)
        every = torch.arange(len(step))
        self.flat = flat
        return flat.dual[every, at], flat.value[every, at]

    def _deliver(
        self, index: Tensor, step: Tensor, dual: Tensor, value: Tensor, residual: Tensor
    ) -> None:
        self.residual[index, step] = residual
        self.solved(index, step, dual, value)
        self.tick(len(index))

    def _advance(self, state: State) -> None:
        vectors = state.direction
        product = self.kernel.product(vectors)
        self.products += 1
        total = vectors.sum(1, dtype=torch.float64)
        level = (vectors @ self.lift32).double() + self.kernel.constant * total
        image = product + total.float()[:, None] * self.lift32 + level.float()[:, None]
        running = state.running
        self.systems.step(state, product, image, running & ~state.fresh)
        fresh = torch.nonzero(running & state.fresh)[:, 0]
        if len(fresh):
            step = state.base_dual[fresh] - state.dual[fresh]  # of which the direction is fp32
            value = state.value[fresh] + self.kernel.add_lift(product[fresh], step)
            self.systems.begin_gradients(state, fresh, value)
        norm = torch.linalg.vector_norm(state.remainder, dim=1).double()
        ready, late = norm <= state.limit, state.steps >= CG_STEPS
        if self.problems.refining:
            ready |= late
        rows = torch.nonzero(running & ready)[:, 0]
        if len(rows):
            self.systems.move(state, rows)
            self._next_newton(state, rows)
        self._take_out(state, torch.nonzero(running & ~ready & late)[:, 0])

    def _set_cost(self, state: State, rows: Tensor) -> None:
        cost = self.problems.costs[state.index[rows], state.step[rows]]
        state.ridge[rows] = ridge_of(state.weights[rows], cost)
        state.tau[rows] = tau_of(cost)
        state.newton[rows] = 0
        state.built[rows] = False
        state.active[rows] = False
        self._start_flat(state, rows)

    def _start_flat(self, state: State, rows: Tensor) -> None:
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

    def _next_newton(self, state: State, rows: Tensor) -> None:
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
            index, step = state.index[rows], state.step[rows]
            self.newton[index, step] = state.newton[rows]
            self._deliver(index, step, state.dual[rows], state.value[rows], residual)
            state.step[rows] += 1
            more = state.step[rows] < self.problems.costs.shape[1]
            state.direction[rows[~more]] = 0
            state.running[rows[~more]] = False
            rows = self._park(state, rows[more])
            self._set_cost(state, rows)

    def _residual(self, state: State, rows: Tensor) -> Tensor:
        """Of each problem, (m,); of values in fp64 where that is affordable, which they then have.

        Else those at costs up to COMPACT_COST are of fp32 sums with the Gram matrix.
        """

        def measure(rows: Tensor) -> Tensor:
            labels, ridge, tau = state.labels[rows], state.ridge[rows], state.tau[rows]
            return residual_of(labels, ridge, state.dual[rows], state.value[rows], tau)

        residual = measure(rows)
        if self.kernel.exact is not None and not self.problems.refining:
            claimed = residual <= self.problems.tolerance
            if claimed.any():
                over = rows[claimed]
                state.value[over] = self.kernel.multiply_exactly(state.dual[over])
                residual[claimed] = measure(over)
        return residual

    def _is_stuck(self, state: State, rows: Tensor, residual: Tensor) -> Tensor:
        """Which problems would go on better on a block, (m,) bool."""
        if self.problems.refining:
            return torch.zeros_like(rows, dtype=torch.bool)
        newton = state.newton[rows]
        few = active_rows(state, rows).sum(1) <= self.compact_rows
        costly = self.problems.costs[state.index[rows], state.step[rows]] > COMPACT_COST
        alone = int(state.running.sum()) <= ALONE
        ending = costly & ((residual <= LOOSE) | alone)
        return (newton >= NEWTON_STEPS) | ending | (few & (newton > 0))

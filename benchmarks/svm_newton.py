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

from benchmarks.svm_compact import Parked, finish
from benchmarks.svm_kernel import Kernel
from benchmarks.svm_lanczos import LANCZOS_COST, LANCZOS_STEPS, Flat, solve_all_active
from benchmarks.svm_precondition import Preconditioner
from benchmarks.svm_problems import Problems, State
from benchmarks.svm_rules import TOLERANCE, line_search, residual_of, ridge_of, spread_of, tau_of

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
    """How each problem at each cost ended, on the CPU."""

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

    `factor` is F of `svm_kernel.eigenspace`. `solved` gets (k,) indices and (k, N) fp64 tensors;
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
        self.preconditioner = Preconditioner(factor, kernel.diagonal)
        shape = problems.costs.shape
        size = len(kernel.gram)
        self.compact_rows = int(COMPACT_SHARE * size)
        self.parked: list[Parked] = []
        self.flat: Flat | None = None
        self.residual = torch.full(shape, torch.inf, dtype=torch.float64, device=kernel.device)
        self.newton = torch.zeros(shape, dtype=torch.int64, device=kernel.device)
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
        return Report(self.residual.cpu(), self.newton.cpu(), self.products)

    # Start: all small costs from one Krylov space.

    def _start(self) -> State:
        count = len(self.problems.labels)
        step = torch.zeros(count, dtype=torch.int64, device=self.kernel.device)
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
        few = self._active(state, rows).sum(1) <= self.compact_rows
        self._take_out(state, rows[few])
        return rows[~few]

    def _active(self, state: State, rows: Tensor) -> Tensor:
        """Which training rows violate their margins, (m, N)."""
        labels = state.labels[rows]
        return (labels * state.value[rows] < 1) & (labels != 0)

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
        every = torch.arange(len(step), device=step.device)
        self.flat = flat
        return flat.dual[every, at], flat.value[every, at]

    def _deliver(
        self, index: Tensor, step: Tensor, dual: Tensor, value: Tensor, residual: Tensor
    ) -> None:
        self.residual[index, step] = residual
        self.solved(index, step, dual, value)
        self.tick(len(index))

    # One shared product, then each problem does what is next for it.

    def _advance(self, state: State) -> None:
        vectors = state.direction
        product = self.kernel.product(vectors)
        self.products += 1
        total = vectors.sum(1, dtype=torch.float64)
        level = (vectors @ self.lift32).double() + self.kernel.constant * total
        image = product + total.float()[:, None] * self.lift32 + level.float()[:, None]
        running = state.running
        self._gradient_step(state, product, image, running & ~state.fresh)
        fresh = torch.nonzero(running & state.fresh)[:, 0]
        if len(fresh):
            step = state.base_dual[fresh] - state.dual[fresh]  # of which the direction is fp32
            value = state.value[fresh] + self.kernel.add_lift(product[fresh], step)
            self._begin_gradients(state, fresh, value)
        norm = torch.linalg.vector_norm(state.remainder, dim=1).double()
        ready, late = norm <= state.limit, state.steps >= CG_STEPS
        if self.problems.refining:
            ready |= late
        rows = torch.nonzero(running & ready)[:, 0]
        if len(rows):
            self._newton_step(state, rows)
        self._take_out(state, torch.nonzero(running & ~ready & late)[:, 0])

    def _gradient_step(self, state: State, product: Tensor, image: Tensor, going: Tensor) -> None:
        """`product` and `image` are those of the direction with the centred Gram matrix and K."""
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

    # Newton steps.

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

    def _newton_step(self, state: State, rows: Tensor) -> None:
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
        self._next_newton(state, rows)

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
            self._begin_newton(state, rows[more], residual[more])
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
        few = self._active(state, rows).sum(1) <= self.compact_rows
        costly = self.problems.costs[state.index[rows], state.step[rows]] > COMPACT_COST
        alone = int(state.running.sum()) <= ALONE
        ending = costly & ((residual <= LOOSE) | alone)
        return (newton >= NEWTON_STEPS) | ending | (few & (newton > 0))

    def _begin_newton(self, state: State, rows: Tensor, residual: Tensor) -> None:
        if not len(rows):
            return
        labels, value = state.labels[rows], state.value[rows]
        active = self._active(state, rows)
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
        stop = torch.minimum(eta, 0.1 * residual).clamp(min=0.3 * self.problems.tolerance)
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
            self._begin_gradients(state, ready, state.value[ready])

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

    def _begin_gradients(self, state: State, rows: Tensor, value: Tensor) -> None:
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

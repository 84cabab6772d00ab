"""The end of the batched solver: each problem on a block of the few rows near their margins.

A block's solution is looked at on all rows; where one that was left out is active, the problem
goes on with it. Blocks are solved by several processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from benchmarks.devices import free_bytes
from benchmarks.svm.solver.block import Block, bytes_of
from benchmarks.svm.solver.block_solver import BlockSolver
from benchmarks.svm.solver.convergence import TINY, TOLERANCE, norms, spread_of, tau_of
from benchmarks.svm.solver.fits import Floats, Floats32, Ints
from benchmarks.svm.solver.kernel import Kernel
from benchmarks.svm.solver.multiplying import threads_here
from benchmarks.svm.solver.workers import workers
from slurm.errors import UserError

# Gets (k,) problems, (k,) places of their costs, (k, N) duals and values, (k,) residuals, and (k,)
# Newton steps.
Deliver = Callable[[Ints, Ints, Floats, Floats, Floats, Ints], None]
ROUNDS = 5
NEAR = 0.2  # rows that satisfy their margin by less are taken in, since f still moves
WIDER = 5.0  # times as much in each further round; the last round takes all rows
TOGETHER = 1024  # solutions looked at on all rows at once
EXACT_COST = 0.5  # up to it fp32 sums are enough for the values of rows that are not trained on


@dataclass
class Parked:
    """Problems for blocks, and the cost that each is to be solved at next."""

    index: Ints  # (m,) which problem
    step: Ints  # (m,) which of its costs
    labels: Floats  # (m, N)
    weights: Floats  # (m, N)
    dual: Floats  # (m, N), to start from
    value: Floats  # (m, N)

    @classmethod
    def joined(cls, parts: Sequence["Parked"]) -> "Parked":
        """Those of several groups."""
        names = [field.name for field in fields(cls)]
        return cls(
            **{name: np.concatenate([getattr(one, name) for one in parts]) for name in names}
        )


@dataclass(frozen=True)
class Found:
    """Solutions of one problem at consecutive costs, on some rows."""

    rows: NDArray[np.int64]  # (n,)
    duals: list[NDArray[np.float64]]  # (n,) each
    newton: list[int]
    residuals: list[float]  # over `rows`


def finish(
    kernel: Kernel,
    factor: Floats32,
    parked: Parked,
    costs: Floats,
    deliver: Deliver,
    need_values: bool,
) -> int:
    """Solve parked problems at all costs that are left; returns the products with all of K.

    `costs` is (M, L). `deliver(problem, cost, dual, value, residual, newton)` receives every
    solution once, also one that is not solved; its residual tells. With `need_values=False` nobody
    reads the values: they may all be of fp32 sums.
    """
    products = 0
    todo = list(range(len(parked.index)))
    near: dict[int, NDArray[np.int64]] = {}

    def solve(task: _Task) -> Found:
        return _solve(kernel, factor, parked, costs, task)

    for attempt in range(ROUNDS):
        last = attempt == ROUNDS - 1
        margin = np.inf if last else NEAR * WIDER**attempt
        tasks = [_Task.of(parked, row, margin, near.get(row)) for row in todo]
        # Long ones first, so that no process is left with one at the end.
        tasks.sort(key=lambda task: len(task.rows), reverse=True)
        again: list[int] = []
        batch: list[tuple[int, Found]] = []
        with workers(solve, processes_with_room(kernel, len(tasks), len(tasks[0].rows))) as run:
            for at, (task, found) in enumerate(zip(tasks, run(tasks))):
                near[task.row] = found.rows
                batch.append((task.row, found))
                if len(batch) * costs.shape[1] >= TOGETHER or at == len(tasks) - 1:
                    check = _Check(kernel, parked, costs, deliver, need_values)
                    again += check.run(batch, last)
                    products += check.products
                    batch = []
        todo = again
        if not todo:
            break
    return products


def processes_with_room(kernel: Kernel, tasks: int, rows: int) -> int:
    """How many have room for blocks of so many rows; `UserError` when not even one has."""
    needed, free = bytes_of(kernel, rows), free_bytes()
    wanted = min(threads_here(), tasks)
    if free is None or wanted * needed <= free:
        return wanted
    if needed > free:
        raise UserError(
            f"a problem of {rows:,} rows near their margins takes {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free: give the task more memory, or take --solver "
            "liblinear"
        )
    return int(free // needed)


@dataclass(frozen=True)
class _Task:
    """What changes of a parked problem between rounds, to be sent to a process."""

    row: int
    step: int
    dual: NDArray[np.float64]  # (N,)
    value: NDArray[np.float64]  # (N,)
    rows: NDArray[np.int64]  # (n,) near or beyond their margins

    @classmethod
    def of(cls, parked: Parked, row: int, margin: float, near: NDArray[np.int64] | None) -> "_Task":
        """With the rows that satisfy their margins by less than `margin`, and those of `near`."""
        labels, value = parked.labels[row], parked.value[row]
        chosen = (labels * value < 1 + margin) & (labels != 0)
        if near is not None:
            chosen[near] = True
        return cls(row, int(parked.step[row]), parked.dual[row], value, np.flatnonzero(chosen))


def _solve(kernel: Kernel, factor: Floats32, parked: Parked, costs: Floats, task: _Task) -> Found:
    """Solve a parked problem at its remaining costs on the rows of its task."""
    labels, rows = parked.labels[task.row], task.rows
    of_training = task.value[labels != 0]
    solver = BlockSolver(
        Block.gather(kernel, factor, rows),
        labels[rows],
        parked.weights[task.row][rows],
        task.dual[rows],
        (labels * task.value < 1)[rows],
        float(np.linalg.norm(of_training - of_training.mean())),
    )
    found = Found(rows, [], [], [])
    for price in costs[parked.index[task.row], task.step :].tolist():
        solution = solver.solve(price)
        found.duals.append(solution.dual)
        found.newton.append(solution.newton)
        found.residuals.append(solution.residual)
    return found


class _Check:
    """Looks at all rows of solutions that were found on some."""

    def __init__(
        self,
        kernel: Kernel,
        parked: Parked,
        costs: Floats,
        deliver: Deliver,
        need_values: bool,
    ) -> None:
        self.kernel, self.parked, self.costs = kernel, parked, costs
        self.deliver, self.need_values = deliver, need_values
        self.products = 0

    def run(self, batch: list[tuple[int, Found]], last: bool) -> list[int]:
        """Deliver what holds on all rows; returns the problems that must go on, set up for it."""
        parked = self.parked
        owner = np.array([row for row, found in batch for _ in found.duals])
        dual = np.zeros((len(owner), parked.labels.shape[1]))
        outside = parked.labels[owner]
        at = 0
        for _, found in batch:
            for one in found.duals:
                dual[at, found.rows] = one
                outside[at, found.rows] = 0
                at += 1
        steps = [int(parked.step[row]) + i for row, found in batch for i in range(len(found.duals))]
        step = np.array(steps)
        newton = np.array([n for _, found in batch for n in found.newton])
        price = self.costs[parked.index[owner], step]
        value = self._values(dual, price)
        inside = np.array([r for _, found in batch for r in found.residuals])
        slack = np.where(outside != 0, (1 - outside * value).clip(min=0), 0.0)
        train = parked.labels[owner] != 0
        # In units of which it was measured; of nothing, if f was constant.
        inside *= spread_of(parked.value[owner], train).clip(min=TINY)
        rest = np.hypot(inside, norms(slack) / tau_of(price))
        residual = rest / spread_of(value, train).clip(min=TINY)
        good, again = (residual <= TOLERANCE).tolist(), []
        at = 0
        keep: list[int] = []
        for row, found in batch:
            count = len(found.duals)
            held = next((i for i in range(count) if not good[at + i]), count)
            keep += range(at, at + (count if last else held))
            if held < count and not last:
                again.append(row)
                parked.dual[row], parked.value[row] = dual[at + held], value[at + held]
                parked.step[row] += held
            at += count
        if keep:
            self.deliver(
                parked.index[owner[keep]],
                step[keep],
                dual[keep],
                value[keep],
                residual[keep],
                newton[keep],
            )
        return again

    def _values(self, dual: Floats, price: Floats) -> Floats:
        """f on all rows, in fp64 where it is scored and needs it."""
        self.products += 1
        costly = price > EXACT_COST if self.need_values else np.zeros_like(price, dtype=np.bool_)
        value = np.empty_like(dual)
        if costly.any():
            value[costly] = self.kernel.multiply_exactly(dual[costly])
        if not costly.all():
            value[~costly] = self.kernel.multiply(dual[~costly])
        return value

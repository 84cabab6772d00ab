"""One problem on the few rows that can be active: a working set, small enough for a cache.

At large costs (and in small draws) few rows violate their margins. The problem restricted to them
is solved by Newton's method on a gathered block of the Gram matrix; the caller then looks at all
rows. Conjugate gradients find the direction in fp32, everything that is measured is fp64.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.svm_kernel import Kernel
from benchmarks.svm_lanczos import LANCZOS_COST, LANCZOS_STEPS, solve_all_active
from benchmarks.svm_rules import TOLERANCE, line_search, residual_of, ridge_of, spread_of, tau_of

NEWTON_STEPS = 80
WHOLE_ROWS = 700  # a problem with at most so many training rows leaves none out
CG_STEPS = 100  # then the active block is factored instead
DIRECT_ROWS = 400  # with fewer active ones, factoring is cheaper than the calls of an iteration
NEAR = 0.1  # rows that satisfy their margin by less are kept at hand
INNER = 0.3 * TOLERANCE  # so that the caller's residual over all rows stays below TOLERANCE


@dataclass
class Block:
    """The part of K that belongs to some rows, and of the factor F of its leading part."""

    exact: Tensor  # (n, n) fp64
    single: Tensor  # (n, n) fp32: the same, for directions
    factor: Tensor  # (n, r) fp32
    rest: Tensor  # (n,) fp32: the diagonal of K - F F'

    @classmethod
    def gather(cls, kernel: Kernel, factor: Tensor, rows: Tensor) -> "Block":
        """The block of `rows` (n,) int64."""
        exact = kernel.block(rows)
        # The leading directions come last; a small block needs fewer of them.
        part = factor[rows, -max(16, len(rows) // 10) :]
        single = exact.float()
        rest = (single.diagonal() - part.square().sum(1)).clamp(min=0)
        return cls(exact, single, part, rest)

    def part(self, rows: Tensor) -> "Block":
        """The block of some of these rows."""
        exact = self.exact.index_select(0, rows).index_select(1, rows)
        return Block(exact, exact.float(), self.factor[rows], self.rest[rows])


class BlockSolver:
    """One problem on the rows of a block, at one cost after another.

    `labels` (1, -1), `weights` and `dual` are (n,) fp64. With `shrink` the rows that fall far
    behind their margins are left out as costs grow: they, too, are the caller's to check.
    """

    def __init__(
        self, block: Block, labels: Tensor, weights: Tensor, dual: Tensor, shrink: bool
    ) -> None:
        self.block, self.labels, self.weights = block, labels, weights
        self.size, self.shrink = len(labels), shrink
        self.rows = torch.arange(self.size, device=labels.device)
        self.dual = dual
        self.value = block.exact @ dual
        self.built: Tensor | None = None  # the active set that the preconditioner fits

    def solve(self, cost: float, spread: float | None) -> tuple[Tensor, int, float]:
        """b (n,) fp64, Newton steps and residual at this cost, from where the last one ended.

        `spread` is that of f over all training rows; None takes it from the block's rows.
        """
        price = torch.tensor([cost], dtype=torch.float64, device=self.labels.device)
        self.ridge = ridge_of(self.weights[None], price)[0]
        self.built = None
        tau = tau_of(price).item()
        residual, step = 0.0, 0
        for step in range(NEWTON_STEPS + 1):
            slack = (1 - self.labels * self.value).clamp(min=0)
            rest = torch.linalg.vector_norm(self.ridge * self.dual - self.labels * slack).item()
            scale = tau * (self._spread() if spread is None else spread)
            residual = rest / max(scale, 1e-300) if rest else 0.0
            if residual <= INNER or step == NEWTON_STEPS:
                break
            active = slack > 0
            changed = int((active != (self.dual != 0)).sum())
            eta = 1e-2 if changed > 0.03 * len(active) else 1e-3 if changed > 8 else INNER
            self._newton_step(active, max(INNER, min(eta, 0.1 * residual)) * scale)
            if self.shrink:
                self._shrink()
        full = torch.zeros(self.size, dtype=torch.float64, device=self.labels.device)
        full[self.rows] = self.dual
        return full, step, residual

    def solve_small(self, costs: Tensor) -> tuple[list[Tensor], list[float]]:
        """b and residual at the leading ascending costs (L,) that one Krylov space solves.

        `dual` and `value` are left where the next cost starts best.
        """
        labels, weights = self.labels[None], self.weights[None]
        scale, exact = (2 * weights).sqrt(), self.block.exact
        low = costs[costs <= LANCZOS_COST]
        if not len(low):
            return [], []
        flat = solve_all_active(lambda v: v @ exact, labels, scale, low[None], LANCZOS_STEPS)
        dual, value = flat.dual[0], flat.value[0]
        ridge = ridge_of(weights, torch.ones_like(low[:1])) / low[:, None]
        residual = residual_of(labels, ridge, dual, value, tau_of(low)).tolist()
        held = next((i for i, found in enumerate(residual) if found > INNER), len(low))
        self.dual, self.value = dual[min(held, len(low) - 1)], value[min(held, len(low) - 1)]
        return list(dual[:held]), residual[:held]

    def _spread(self) -> float:
        return float(torch.linalg.vector_norm(self.value - self.value.mean()).item())

    def _shrink(self) -> None:
        """Leave out rows far from their margins when that makes the block a good deal smaller."""
        near = self.labels * self.value < 1 + NEAR
        if int(near.sum()) > 0.75 * len(near):
            return
        keep = torch.nonzero(near)[:, 0]
        lost = bool((self.dual[~near] != 0).any())
        self.block, self.rows = self.block.part(keep), self.rows[keep]
        self.labels, self.ridge = self.labels[keep], self.ridge[keep]
        self.weights = self.weights[keep]
        self.dual, self.value = self.dual[keep], self.value[keep]
        self.built = None
        if lost:
            self.value = self.block.exact @ self.dual

    def _build(self, active: Tensor) -> None:
        """The low-rank preconditioner of `svm_newton`, kept while few rows change."""
        factor = self.block.factor
        every = 1 / (self.ridge.float() + self.block.rest)
        self.inverse = torch.where(active, every, 0.0)
        if self.built is not None and int((self.built != active).sum()) <= len(active) // 50:
            return
        self.built, self.anchored = active, factor * self.inverse[:, None]
        core = (self.anchored.T @ factor).double()
        core.diagonal().add_(1)
        self.core = torch.linalg.inv(core).float()

    def _newton_step(self, active: Tensor, limit: float) -> None:
        base = torch.where(active, self.dual, 0.0)
        value = self.block.exact @ base
        ridge = torch.where(active, self.ridge, 0.0)
        remainder = torch.where(active, self.labels - value - ridge * base, 0.0)
        move = None
        if int(active.sum()) > DIRECT_ROWS:
            self._build(active)
            move = self._gradients(active, ridge.float(), remainder.float(), limit)
        if move is None:
            move = self._factored(active, remainder)
        target = base + move
        target_value = self.block.exact @ target
        if torch.equal(self.labels * target_value < 1, active):
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
        self.dual, self.value = target, target_value

    def _gradients(
        self, active: Tensor, ridge: Tensor, remainder: Tensor, limit: float
    ) -> Tensor | None:
        """Preconditioned conjugate gradients; None when they take too long."""
        keep = active.float()
        move = torch.zeros_like(remainder)
        direction, old = move, torch.ones((), device=move.device)
        for step in range(CG_STEPS):
            if torch.linalg.vector_norm(remainder).item() <= limit:
                return move.double()
            low = self.anchored @ (self.core @ (self.anchored.T @ remainder))
            conditioned = self.inverse * remainder - keep * low
            rz = remainder @ conditioned
            direction = conditioned if step == 0 else conditioned + (rz / old) * direction
            old = rz
            curved = torch.addcmul(keep * (self.block.single @ direction), ridge, direction)
            length = rz / (direction @ curved)
            move = move + length * direction
            remainder = remainder - length * curved
        return None

    def _factored(self, active: Tensor, remainder: Tensor) -> Tensor:
        rows = torch.nonzero(active)[:, 0]
        matrix = self.block.exact.index_select(0, rows).index_select(1, rows)
        matrix.diagonal().add_(self.ridge[rows])
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed.item():  # not positive definite in rounding; an LU still solves it
            solved = torch.linalg.solve(matrix, remainder[rows])
        else:
            solved = torch.cholesky_solve(remainder[rows, None], factor)[:, 0]
        return torch.zeros_like(remainder).index_copy(0, rows, solved)


Deliver = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], None]
ROUNDS = 12
TOGETHER = 256  # solutions checked against all rows at once


@dataclass
class Parked:
    """Problems for blocks, and the cost that each is to be solved at next."""

    index: Tensor  # (m,) which problem
    step: Tensor  # (m,) which of its costs
    labels: Tensor  # (m, N) fp64
    weights: Tensor  # (m, N) fp64
    dual: Tensor  # (m, N) fp64, to start from
    value: Tensor  # (m, N) fp64


@dataclass(frozen=True)
class Found:
    """Solutions of one problem at consecutive costs, on some rows."""

    rows: Tensor  # (n,) int64
    duals: list[Tensor]  # (n,) fp64 each
    newton: list[int]
    residuals: list[float]  # over `rows`
    whole: bool  # `rows` are all its training rows


def finish(
    kernel: Kernel,
    factor: Tensor,
    parked: Parked,
    costs: Tensor,
    deliver: Deliver,
    need_values: bool,
) -> int:
    """Solve parked problems at all costs that are left; returns the products with all of K.

    `costs` is (M, L). `deliver(problem, cost, dual, value, residual, newton)` receives every
    solution once, also one that is not solved; its residual tells. With `need_values=False` the
    values of problems that left no row out are not computed, and are delivered as zero.
    """
    products = 0
    todo = list(range(len(parked.index)))
    near: dict[int, Tensor] = {}
    for attempt in range(ROUNDS):
        with _workers(kernel.device) as run:
            found = run(lambda row: _chain(kernel, factor, parked, costs, near, row), todo)
            again = []
            batch: list[tuple[int, Found]] = []
            last = attempt == ROUNDS - 1
            for at, one in enumerate(zip(todo, found)):
                batch.append(one)
                if len(batch) * costs.shape[1] >= TOGETHER or at == len(todo) - 1:
                    check = _Check(kernel, parked, costs, deliver, need_values)
                    again += check.run(batch, near, last)
                    products += check.products
                    batch = []
        todo = again
        if not todo:
            break
    return products


def _chain(
    kernel: Kernel,
    factor: Tensor,
    parked: Parked,
    costs: Tensor,
    near: dict[int, Tensor],
    row: int,
) -> Found:
    """Solve a parked problem at its remaining costs on the rows near or beyond their margins."""
    labels, value = parked.labels[row], parked.value[row]
    train = labels != 0
    count = int(train.sum())
    whole = count <= WHOLE_ROWS
    chosen = train if whole else (labels * value < 1 + NEAR) & train
    if row in near and not whole:
        chosen = chosen | near[row]
    near[row] = chosen
    rows = torch.nonzero(chosen)[:, 0]
    spread = None if whole else spread_of(value[None], train[None]).item()
    block = Block.gather(kernel, factor, rows)
    prices = costs[parked.index[row], int(parked.step[row]) :].tolist()
    weights, dual = parked.weights[row, rows], parked.dual[row, rows]
    cold = not dual.any()
    if cold:
        dual = 2 * prices[0] * weights * labels[rows]  # the limit of small costs
    solver = BlockSolver(block, labels[rows], weights, dual, not whole)
    found = Found(rows, [], [], [], whole)
    if cold and whole:
        duals, residuals = solver.solve_small(costs[parked.index[row]])
        found.duals.extend(duals)
        found.residuals.extend(residuals)
        found.newton.extend([0] * len(duals))
    for price in prices[len(found.duals) :]:
        dual, newton, residual = solver.solve(price, spread)
        found.duals.append(dual)
        found.newton.append(newton)
        found.residuals.append(residual)
    return found


class _Check:
    """Looks at all rows of solutions that were found on some."""

    def __init__(
        self,
        kernel: Kernel,
        parked: Parked,
        costs: Tensor,
        deliver: Deliver,
        need_values: bool,
    ) -> None:
        self.kernel, self.parked, self.costs = kernel, parked, costs
        self.deliver, self.need_values = deliver, need_values
        self.products = 0

    def run(self, batch: list[tuple[int, Found]], near: dict[int, Tensor], last: bool) -> list[int]:
        """Deliver what holds on all rows; returns the problems that must go on, set up for it."""
        parked = self.parked
        owner = torch.tensor([row for row, found in batch for _ in found.duals])
        owner = owner.to(parked.step.device)
        dual = torch.zeros(
            (len(owner), parked.labels.shape[1]), dtype=torch.float64, device=owner.device
        )
        at = 0
        for _, found in batch:
            for one in found.duals:
                dual[at, found.rows] = one
                at += 1
        steps = torch.cat(
            [int(parked.step[row]) + torch.arange(len(found.duals)) for row, found in batch]
        ).to(owner.device)
        newton = torch.tensor([n for _, found in batch for n in found.newton]).to(owner.device)
        if all(found.whole for _, found in batch) and not self.need_values:
            value = torch.zeros_like(dual)
            residual = dual.new_tensor([r for _, found in batch for r in found.residuals])
        else:
            value = self.kernel.multiply_exactly(dual)
            self.products += 1
            price = self.costs[parked.index[owner], steps]
            labels = parked.labels[owner]
            ridge = ridge_of(parked.weights[owner], price)
            residual = residual_of(labels, ridge, dual, value, tau_of(price))
        good, again = (residual <= TOLERANCE).tolist(), []
        at = 0
        keep: list[int] = []
        for row, found in batch:
            count = len(found.duals)
            held = next((i for i in range(count) if not good[at + i]), count)
            if held < count and not last:
                again.append(row)
                parked.dual[row], parked.value[row] = dual[at + held], value[at + held]
            keep += range(at, at + (count if last else held))
            at += count
        for row in again:
            mine = [i for i in keep if int(owner[i]) == row]
            parked.step[row] += len(mine)
        if keep:
            rows = torch.tensor(keep, device=owner.device)
            self.deliver(
                parked.index[owner[rows]],
                steps[rows],
                dual[rows],
                value[rows],
                residual[rows],
                newton[rows],
            )
        return again


@contextmanager
def _workers(
    device: torch.device,
) -> Iterator[Callable[[Callable[[int], Found], list[int]], Iterator[Found]]]:
    """A map over problems: on a CPU, one thread each, since their matrices are small."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield map
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)

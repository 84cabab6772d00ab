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
from benchmarks.svm_rules import TOLERANCE, line_search, residual_of, ridge_of, spread_of, tau_of

NEWTON_STEPS = 80
CG_STEPS = 150  # then the active block is factored instead
NEAR = 0.05  # rows that satisfy their margin by less are kept at hand
INNER = 0.3 * TOLERANCE  # so that the caller's residual over all rows stays below TOLERANCE


@dataclass
class Block:
    """The part of K that belongs to some rows, and of the factor F of its leading part."""

    exact: Tensor  # (n, n) fp64
    single: Tensor  # (n, n) fp32: the same, for directions
    factor: Tensor  # (n, r) fp32

    @classmethod
    def gather(cls, kernel: Kernel, factor: Tensor, rows: Tensor) -> "Block":
        """The block of `rows` (n,) int64."""
        exact = kernel.block(rows)
        return cls(exact, exact.float(), factor[rows])

    def part(self, rows: Tensor) -> "Block":
        """The block of some of these rows."""
        exact = self.exact.index_select(0, rows).index_select(1, rows)
        return Block(exact, exact.float(), self.factor[rows])


@dataclass
class Solution:
    """b of the rows, and how it was found."""

    dual: Tensor  # (n,) fp64
    newton: int


def solve_block(
    block: Block, labels: Tensor, weights: Tensor, cost: float, dual: Tensor, spread: float
) -> Solution:
    """Solve one problem at one cost on the rows of a block, from `dual`.

    `labels` (1, -1), `weights` and `dual` are (n,) fp64; `spread` is that of f over all rows.
    """
    return _Compact(block, labels, weights, cost, dual, spread).run()


class _Compact:
    def __init__(
        self,
        block: Block,
        labels: Tensor,
        weights: Tensor,
        cost: float,
        dual: Tensor,
        spread: float,
    ) -> None:
        self.block, self.labels = block, labels
        price = torch.tensor([cost], dtype=torch.float64, device=labels.device)
        self.ridge = ridge_of(weights[None], price)[0]
        self.scale = tau_of(price).item() * spread
        self.size = len(labels)
        self.rows = torch.arange(self.size, device=labels.device)
        self.dual = dual
        self.value = block.exact @ dual
        self.built: Tensor | None = None  # the active set that the preconditioner fits

    def run(self) -> Solution:
        step = 0
        for step in range(NEWTON_STEPS + 1):
            # Rows that were left out have no part in the residual; the caller checks them.
            slack = (1 - self.labels * self.value).clamp(min=0)
            rest = self.ridge * self.dual - self.labels * slack
            residual = torch.linalg.vector_norm(rest).item() / self.scale
            if residual <= INNER or step == NEWTON_STEPS:
                break
            active = slack > 0
            changed = int((active != (self.dual != 0)).sum())
            share = changed / max(1, len(active))
            eta = 1e-2 if share > 0.03 else 1e-3 if changed > 8 else INNER
            self._newton_step(active, max(INNER, min(eta, 0.1 * residual)) * self.scale)
            self._shrink()
        full = torch.zeros(self.size, dtype=torch.float64, device=self.labels.device)
        full[self.rows] = self.dual
        return Solution(full, step)

    def _shrink(self) -> None:
        """Leave out rows far from their margins when that makes the block a good deal smaller."""
        near = self.labels * self.value < 1 + NEAR
        if len(near) < 300 or int(near.sum()) > 0.75 * len(near):
            return
        keep = torch.nonzero(near)[:, 0]
        lost = bool((self.dual[~near] != 0).any())
        self.block, self.rows = self.block.part(keep), self.rows[keep]
        self.labels, self.ridge = self.labels[keep], self.ridge[keep]
        self.dual, self.value = self.dual[keep], self.value[keep]
        self.built = None
        if lost:
            self.value = self.block.exact @ self.dual

    def _build(self, active: Tensor) -> None:
        """The low-rank preconditioner of `svm_newton`, kept while few rows change."""
        factor = self.block.factor
        own = self.block.single.diagonal() - factor.square().sum(1)
        every = 1 / (self.ridge.float() + own.clamp(min=0))
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
        self._build(active)
        move = self._gradients(active, ridge.float(), remainder.float(), limit)
        if move is None:
            move = self._factored(active, remainder)
        target = base + move
        target_value = self.block.exact @ target
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
        solved = torch.linalg.solve(matrix, remainder[rows])
        return torch.zeros_like(remainder).index_copy(0, rows, solved)


Deliver = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], None]
ROUNDS = 12


@dataclass
class Parked:
    """Problems that have few active rows, and the cost that each is to be solved at next."""

    index: Tensor  # (m,) which problem
    step: Tensor  # (m,) which of its costs
    labels: Tensor  # (m, N) fp64
    weights: Tensor  # (m, N) fp64
    dual: Tensor  # (m, N) fp64, to start from
    value: Tensor  # (m, N) fp64


def finish(kernel: Kernel, factor: Tensor, parked: Parked, costs: Tensor, deliver: Deliver) -> int:
    """Solve parked problems at all costs that are left, cost after cost; returns the products.

    `costs` is (M, L). `deliver(problem, cost, dual, value, residual, newton)` receives every
    solution once, also one that is not solved; its residual tells.
    """
    products = 0
    for step in range(int(parked.step.min()), costs.shape[1]):
        todo = torch.nonzero(parked.step <= step)[:, 0]
        kept: dict[int, Tensor] = {}
        newton = torch.zeros_like(parked.step)
        for attempt in range(ROUNDS):
            prices = costs[parked.index[todo], step]
            with _workers(kernel.device) as run:
                jobs = [(row, price, kept) for row, price in zip(todo.tolist(), prices.tolist())]
                found = run(lambda job: _restricted(kernel, factor, parked, *job), jobs)
                for row, (dual, steps) in zip(todo.tolist(), found):
                    parked.dual[row] = dual
                    newton[row] += steps
            parked.value[todo] = kernel.multiply_exactly(parked.dual[todo])
            products += 1
            labels = parked.labels[todo]
            ridge = ridge_of(parked.weights[todo], prices)
            dual, value = parked.dual[todo], parked.value[todo]
            residual = residual_of(labels, ridge, dual, value, tau_of(prices))
            over = residual <= TOLERANCE
            if attempt == ROUNDS - 1:
                over[:] = True
            rows = todo[over]
            if len(rows):
                index, at = parked.index[rows], torch.full_like(rows, step)
                deliver(index, at, dual[over], value[over], residual[over], newton[rows])
            todo = todo[~over]
            if not len(todo):
                break
    return products


def _restricted(
    kernel: Kernel,
    factor: Tensor,
    parked: Parked,
    row: int,
    price: float,
    kept: dict[int, Tensor],
) -> tuple[Tensor, int]:
    """Solve one parked problem on the rows near or beyond their margins, and those of before."""
    labels, value = parked.labels[row], parked.value[row]
    near = (labels * value < 1 + NEAR) & (labels != 0)
    if row in kept:
        near[kept[row]] = True
    rows = kept[row] = torch.nonzero(near)[:, 0]
    block = Block.gather(kernel, factor, rows)
    start = parked.dual[row, rows]
    spread = spread_of(value[None], (labels != 0)[None]).item()
    solution = solve_block(block, labels[rows], parked.weights[row, rows], price, start, spread)
    dual = torch.zeros_like(labels)
    dual[rows] = solution.dual
    return dual, solution.newton


@contextmanager
def _workers(device: torch.device) -> Iterator[Callable[..., Iterator[tuple[Tensor, int]]]]:
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

"""One problem on the few rows that can be active: a working set, small enough for a cache.

At large costs (and in small draws) few rows violate their margins. The problem restricted to them
is solved by Newton's method on a gathered block of the Gram matrix, with conjugate gradients that
a Cholesky factor of a recent active set preconditions; the caller then looks at all rows.
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
CG_STEPS = 200
NEAR = 0.05  # rows that satisfy their margin by less are kept at hand
INNER = 0.3 * TOLERANCE  # so that the caller's residual over all rows stays below TOLERANCE


@dataclass
class Block:
    """The part of K that belongs to some rows, kept in its fp32 and fp64 terms."""

    gram: Tensor  # (n, n) fp32
    lift: Tensor  # (n,) fp64
    constant: float

    @classmethod
    def gather(cls, kernel: Kernel, rows: Tensor) -> "Block":
        """The block of `rows` (n,) int64."""
        gram = kernel.gram.index_select(0, rows).index_select(1, rows)
        return cls(gram, kernel.lift[rows], kernel.constant)

    def part(self, rows: Tensor) -> "Block":
        """The block of some of these rows."""
        gram = self.gram.index_select(0, rows).index_select(1, rows)
        return Block(gram, self.lift[rows], self.constant)

    def multiply(self, vector: Tensor) -> Tensor:
        """K v of the block, (n,) fp64."""
        total = vector.sum()
        level = self.lift @ vector + self.constant * total
        return (self.gram @ vector.float()).double() + self.lift * total + level

    def multiply_exactly(self, vector: Tensor) -> Tensor:
        """K v without rounding v or the sums to fp32, (n,) fp64."""
        total = vector.sum()
        level = self.lift @ vector + self.constant * total
        return self.gram.double() @ vector + self.lift * total + level


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
        self.value = block.multiply_exactly(dual)
        self.factor: Tensor | None = None
        self.factored = torch.zeros_like(labels, dtype=torch.bool)

    def run(self) -> Solution:
        step = 0
        for step in range(NEWTON_STEPS + 1):
            # Rows that were left out have no part in the residual; the caller checks them.
            slack = (1 - self.labels * self.value).clamp(min=0)
            rest = self.ridge * self.dual - self.labels * slack
            residual = torch.linalg.vector_norm(rest).item() / self.scale
            if residual <= INNER or step == NEWTON_STEPS:
                break
            active = self.labels * self.value < 1
            changed = int((active != (self.dual != 0)).sum())
            share = changed / max(1, int(active.sum()))
            self._prepare(active, share)
            stop = INNER if self.factor is not None else max(INNER, min(1e-2, 0.1 * residual))
            self._newton_step(active, stop * self.scale)
            self._shrink()
        full = torch.zeros(self.size, dtype=torch.float64, device=self.labels.device)
        full[self.rows] = self.dual
        return Solution(full, step)

    def _prepare(self, active: Tensor, share: float) -> None:
        """Factor the active block once it moves little, or at once when it is small."""
        count = len(self.labels)
        if self.factor is not None:
            stale = int((active != self.factored).sum())
            if stale <= max(8, count // 50):
                return
        self.factor = None
        if share > 0.1 and count > 400:
            return
        block = self.block
        inner = active[:, None] & active[None]
        lift = block.lift.float()
        matrix = torch.where(inner, block.gram + (lift[:, None] + lift + block.constant), 0.0)
        own = block.gram.diagonal() + 2 * lift + block.constant
        matrix.diagonal().copy_(own + self.ridge.float())
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not failed.item():
            self.factor, self.factored = factor, active

    def _shrink(self) -> None:
        """Leave out rows far from their margins when that makes the block a good deal smaller."""
        near = self.labels * self.value < 1 + NEAR
        if int(near.sum()) > 0.75 * len(near) or len(near) < 300:
            return
        keep = torch.nonzero(near)[:, 0]
        lost = bool((self.dual[~near] != 0).any())
        self.block, self.rows = self.block.part(keep), self.rows[keep]
        self.labels, self.ridge = self.labels[keep], self.ridge[keep]
        self.dual, self.value = self.dual[keep], self.value[keep]
        self.factor = None
        if lost:
            self.value = self.block.multiply_exactly(self.dual)

    def _condition(self, remainder: Tensor, active: Tensor) -> Tensor:
        if self.factor is None:
            own = self.block.gram.diagonal().double() + 2 * self.block.lift + self.block.constant
            return remainder / (own + self.ridge)
        solved = torch.cholesky_solve(remainder.float()[:, None], self.factor)[:, 0].double()
        return torch.where(active, solved, 0.0)

    def _newton_step(self, active: Tensor, limit: float) -> None:
        base = torch.where(active, self.dual, 0.0)
        value = self.block.multiply_exactly(base)
        target, target_value = base, value
        ridge = torch.where(active, self.ridge, 0.0)
        remainder = torch.where(active, self.labels - value - ridge * base, 0.0)
        direction = torch.zeros_like(base)
        old = 1.0
        for step in range(CG_STEPS):
            if torch.linalg.vector_norm(remainder).item() <= limit:
                break
            conditioned = self._condition(remainder, active)
            rz = (remainder @ conditioned).item()
            direction = conditioned if step == 0 else conditioned + (rz / old) * direction
            old = rz
            image = self.block.multiply(direction)
            curved = torch.where(active, image, 0.0) + ridge * direction
            curvature = (direction @ curved).item()
            if not curvature > 0:
                break
            length = rz / curvature
            target = target + length * direction
            target_value = target_value + length * image
            remainder = remainder - length * curved
        shift, shift_value = target - self.dual, target_value - self.value
        length_tensor = line_search(
            self.labels[None],
            self.ridge[None],
            self.dual[None],
            self.value[None],
            shift[None],
            shift_value[None],
        )
        length = length_tensor.item()
        if length == 1:
            self.dual, self.value = target, target_value
        else:
            self.dual = self.dual + length * shift
            self.value = self.value + length * shift_value


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


def finish(kernel: Kernel, parked: Parked, costs: Tensor, deliver: Deliver) -> int:
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
                found = run(lambda job: _restricted(kernel, parked, *job), jobs)
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
    kernel: Kernel, parked: Parked, row: int, price: float, kept: dict[int, Tensor]
) -> tuple[Tensor, int]:
    """Solve one parked problem on the rows near or beyond their margins, and those of before."""
    labels, value = parked.labels[row], parked.value[row]
    near = (labels * value < 1 + NEAR) & (labels != 0)
    if row in kept:
        near[kept[row]] = True
    rows = kept[row] = torch.nonzero(near)[:, 0]
    block = Block.gather(kernel, rows)
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

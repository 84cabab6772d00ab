"""The part of the Gram matrix of some rows, small enough for a cache."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.svm.solver.kernel import Kernel


@dataclass
class Block:
    """The part of K that belongs to some rows, and of the factor F of its leading part."""

    centred: Tensor  # (n, n) fp32: X~ X~'
    wide: Tensor  # (n, n): the same in fp64
    widened: bool  # from fp32
    lift: Tensor  # (n,) fp64: a of `kernel`
    constant: float
    factor: Tensor  # (n, r) fp32
    rest: Tensor  # (n,) fp32: the diagonal of K - F F'

    def __post_init__(self) -> None:
        self.lift32 = self.lift.float()

    @classmethod
    def gather(cls, kernel: Kernel, factor: Tensor, rows: Tensor) -> "Block":
        """The block of `rows` (n,) int64."""
        centred = _square(kernel.gram, rows)
        wide = centred.double() if kernel.exact is None else _square(kernel.exact, rows)
        # The leading directions come last; a small block needs fewer of them.
        part = factor[rows, -max(16, len(rows) // 10) :]
        rest = (kernel.diagonal[rows].float() - part.square().sum(1)).clamp(min=0)
        widened, lift = kernel.exact is None, kernel.lift[rows]
        return cls(centred, wide, widened, lift, kernel.constant, part, rest)

    def part(self, rows: Tensor) -> "Block":
        """The block of some of these rows."""
        centred = _square(self.centred, rows)
        wide = centred.double() if self.widened else _square(self.wide, rows)
        factor, rest = self.factor[rows], self.rest[rows]
        return Block(centred, wide, self.widened, self.lift[rows], self.constant, factor, rest)

    def multiply(self, vector: Tensor) -> Tensor:
        """K v of (n,) fp32 v, in fp32 but for the sum that all rows share."""
        total = vector.sum(dtype=torch.float64)
        level = torch.dot(self.lift32, vector).double() + self.constant * total
        product = torch.addcmul(torch.mv(self.centred, vector), self.lift32, total.float())
        return product + level.float()

    def multiply_exactly(self, vectors: Tensor) -> Tensor:
        """V K of (M, n) fp64 V, or K v of (n,) v, in fp64."""
        total = vectors.sum(-1)
        level = vectors @ self.lift + self.constant * total
        return vectors @ self.wide + total[..., None] * self.lift + level[..., None]

    def exact(self, rows: Tensor) -> Tensor:
        """K of some of these rows, fp64."""
        lift = self.lift[rows]
        return _square(self.wide, rows) + lift[:, None] + (lift + self.constant)


def _square(matrix: Tensor, rows: Tensor) -> Tensor:
    return matrix.index_select(0, rows).index_select(1, rows)

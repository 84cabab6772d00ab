"""The part of the Gram matrix of some rows, small enough for a cache.

In NumPy and SciPy, whose calls on so little cost half of torch's, and which read only half of a
symmetric matrix for its product with a vector.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsymv, ssymv

from benchmarks.svm.solver.fits import Floats, Floats32
from benchmarks.svm.solver.kernel import Kernel

Rows = NDArray[np.int64]

WIDE_ROWS = 6000  # of the largest block that is kept in fp64 as well: 288 MB
STRIP = 512  # rows of a larger one that are widened at a time


@dataclass
class Block:
    """The part of K that belongs to some rows, and of the factor F of its leading part."""

    centred: Floats32  # (n, n): X~ X~'
    wide: Floats | None  # (n, n): the same in fp64; None for a large one, widened when needed
    widened: bool  # from fp32
    lift: Floats  # (n,): a of `kernel`
    constant: float
    factor: Floats32  # (n, r)
    rest: Floats32  # (n,): the diagonal of K - F F'

    def __post_init__(self) -> None:
        self.lift32 = self.lift.astype(np.float32)

    @classmethod
    def gather(cls, kernel: Kernel, factor: Floats32, rows: Rows) -> "Block":
        """The block of `rows` (n,)."""
        centred = _square(kernel.gram, rows)
        widened = kernel.exact is None
        wide = _widened(centred) if kernel.exact is None else _square(kernel.exact, rows)
        # The leading directions come last; a small block needs fewer of them.
        part = factor[rows, -max(16, len(rows) // 10) :]
        rest = kernel.diagonal[rows].astype(np.float32) - np.square(part).sum(1)
        lift = kernel.lift[rows]
        return cls(centred, wide, widened, lift, kernel.constant, part, rest.clip(min=0))

    def part(self, rows: Rows) -> "Block":
        """The block of some of these rows."""
        centred = _square(self.centred, rows)
        if self.widened:
            wide = _widened(centred)
        else:
            assert self.wide is not None
            wide = _square(self.wide, rows)
        factor, rest = self.factor[rows], self.rest[rows]
        return Block(centred, wide, self.widened, self.lift[rows], self.constant, factor, rest)

    def multiply(self, vector: Floats32) -> Floats32:
        """K v of (n,) v, in fp32 but for the sum that all rows share."""
        total = vector.sum(dtype=np.float64)
        level = float(self.lift32 @ vector) + self.constant * total
        product: Floats32 = ssymv(1.0, self.centred.T, vector)
        product += np.float32(total) * self.lift32
        product += np.float32(level)
        return product

    def multiply_exactly(self, vector: Floats) -> Floats:
        """K v of (n,) v, in fp64."""
        total = vector.sum()
        level = self.lift @ vector + self.constant * total
        product = self._product(vector)
        product += total * self.lift
        product += level
        return product

    def _product(self, vector: Floats) -> Floats:
        """X~ X~' v, in fp64."""
        product: Floats
        if self.wide is not None:
            product = dsymv(1.0, self.wide.T, vector)
            return product
        product = np.empty_like(vector)
        for start in range(0, len(vector), STRIP):
            strip = slice(start, start + STRIP)
            product[strip] = self.centred[strip].astype(np.float64) @ vector
        return product

    def exact(self, rows: Rows) -> Floats:
        """K of some of these rows, fp64."""
        lift = self.lift[rows]
        whole = self.centred if self.wide is None else self.wide
        found = _square(whole, rows).astype(np.float64, copy=False)
        found += lift[:, None]
        found += lift + self.constant
        return found


def _widened(centred: Floats32) -> Floats | None:
    return centred.astype(np.float64) if len(centred) <= WIDE_ROWS else None


def _square(matrix: NDArray[Any], rows: Rows) -> NDArray[Any]:
    found = np.empty((len(rows), len(rows)), matrix.dtype)
    for at, row in enumerate(rows.tolist()):
        matrix[row].take(rows, out=found[at], mode="clip")
    return found

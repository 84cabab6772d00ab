"""The part of the kernel that belongs to some rows, small enough for a cache.

In NumPy and SciPy, whose calls on so little cost half of torch's, and which read only half of a
symmetric matrix for its product with a vector.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsymv, dsyrk, ssymv, ssyrk
from scipy.linalg.lapack import dposv

from benchmarks.svm.solver.fits import Bools, Floats, Floats32
from benchmarks.svm.solver.kernel import Kernel

Rows = NDArray[np.int64]

WIDE_ROWS = 6000  # of the largest block that is kept in fp64 as well: 288 MB
STRIP = 512  # rows of a larger one that are widened at a time
BYTES, WIDE_BYTES = 8, 24  # that a block takes for each of its entries, at most


@dataclass
class Entries:
    """X~ X~' of n rows, entry by entry: the lower half of it, which is all that is read."""

    centred: Floats32  # (n, n)
    wide: Floats | None  # (n, n): the same in fp64; None for a large one, widened when needed
    widened: bool  # from fp32

    @classmethod
    def of(cls, rows: Floats32) -> "Entries":
        """Of rows (n, D)."""
        # SciPy's upper half by columns is NumPy's lower half by rows.
        centred = ssyrk(1.0, rows.T, trans=1).T
        return cls(centred, _widened(centred), widened=True)

    def times(self, vector: Floats32) -> Floats32:
        """X~ X~' v."""
        product: Floats32 = ssymv(1.0, self.centred.T, vector)
        return product

    def times_exactly(self, vector: Floats) -> Floats:
        """X~ X~' v, in fp64."""
        product: Floats
        if self.wide is not None:
            product = dsymv(1.0, self.wide.T, vector)
            return product
        product = np.zeros_like(vector)
        for start in range(0, len(vector), STRIP):
            strip = slice(start, start + STRIP)
            left = self.centred[strip, :start].astype(np.float64)
            product[strip] += left @ vector[:start]
            product[:start] += vector[strip] @ left
            square = self.centred[strip, strip].astype(np.float64)
            product[strip] += dsymv(1.0, square.T, vector[strip])
        return product

    def part(self, rows: Rows) -> "Entries":
        """Of some of these rows, in ascending order."""
        centred = _square(self.centred, rows)
        if self.widened:
            return Entries(centred, _widened(centred), widened=True)
        assert self.wide is not None
        return Entries(centred, _square(self.wide, rows), widened=False)


class Features:
    """X~ of n rows that are many more than their D features.

    A system of active rows is solved by one of the features, S = sum of w_i z_i z_i' with z_i the
    uncentred row and a 1, which is kept up to date as rows come and go.
    """

    def __init__(self, rows: Floats32, mean: Floats) -> None:
        self.rows, self.mean = rows, mean  # (n, D), (D,)
        self.weights = np.zeros(len(rows))  # w_i of the rows in the sum, 0 for others
        self.sum: Floats | None = None  # (D + 1, D + 1), its lower half

    def times_exactly(self, vector: Floats) -> Floats:
        """X~ X~' v, in fp64."""
        inner, product = np.zeros(self.rows.shape[1]), np.empty_like(vector)
        for strip in self._strips():
            inner += vector[strip] @ self.rows[strip].astype(np.float64)
        for strip in self._strips():
            product[strip] = self.rows[strip].astype(np.float64) @ inner
        return product

    def part(self, rows: Rows) -> "Features | Entries":
        """Of some of these rows."""
        if len(rows) <= self.rows.shape[1]:
            return Entries.of(self.rows[rows])
        found = Features(self.rows[rows], self.mean)
        if self.sum is not None:
            kept = np.zeros_like(self.weights)
            kept[rows] = self.weights[rows]
            self._change(kept)
            found.weights, found.sum = kept[rows], self.sum
            self.sum, self.weights = None, np.zeros_like(self.weights)
        return found

    def solve(self, active: Bools, weights: Floats, cost: float, remainder: Floats) -> Floats:
        """(K_II + D_II)^-1 r on the active rows, 0 elsewhere; D = 1 / (2 C w) (Woodbury)."""
        self._change(np.where(active, weights, 0.0))
        scaled = 2 * cost * self.weights * remainder
        right = self._transposed(scaled)
        _, solved, failed = dposv(self._system(cost), right, lower=1, overwrite_a=1)
        if failed:  # the sum has drifted; a fresh one, and an LU, still solve it
            own, self.sum, self.weights = self.weights, None, np.zeros_like(self.weights)
            self._change(own)
            lower = self._system(cost)
            solved = np.linalg.solve(lower + np.tril(lower, -1).T, right)
        found: Floats = scaled - 2 * cost * self.weights * self._values(solved)
        return found

    def _system(self, cost: float) -> Floats:
        """I + 2 C S, its lower half."""
        assert self.sum is not None
        system = 2 * cost * self.sum
        system[np.diag_indices(len(system))] += 1
        return system

    def _change(self, weights: Floats) -> None:
        """Let the sum be of rows with these weights."""
        width = self.rows.shape[1] + 1
        if self.sum is None:
            self.sum = np.zeros((width, width), order="F")
        change = weights - self.weights
        moved = np.flatnonzero(change)
        for start in range(0, len(moved), STRIP):
            some = moved[start : start + STRIP]
            for sign in (1, -1):
                chosen = some[sign * change[some] > 0]
                if len(chosen):
                    wide = self._uncentred(chosen) * np.sqrt(np.abs(change[chosen]))[:, None]
                    self.sum = dsyrk(sign, wide.T, beta=1.0, c=self.sum, lower=1, overwrite_c=1)
        self.weights = weights

    def _uncentred(self, chosen: Rows | slice) -> Floats:
        """z of some rows, (m, D + 1)."""
        rows = self.rows[chosen]
        wide = np.ones((len(rows), rows.shape[1] + 1))
        np.add(rows, self.mean, out=wide[:, :-1])
        return wide

    def _transposed(self, vector: Floats) -> Floats:
        """Z' v."""
        found = np.zeros(self.rows.shape[1] + 1)
        for strip in self._strips():
            found += vector[strip] @ self._uncentred(strip)
        return found

    def _values(self, weights: Floats) -> Floats:
        """Z w."""
        found = np.empty(len(self.rows))
        for strip in self._strips():
            found[strip] = self._uncentred(strip) @ weights
        return found

    def _strips(self) -> list[slice]:
        return [slice(start, start + STRIP) for start in range(0, len(self.rows), STRIP)]


@dataclass
class Block:
    """The part of K that belongs to some rows, and of the factor F of its leading part."""

    inner: Entries | Features  # X~ X~'
    lift: Floats  # (n,): a of `kernel`
    constant: float
    factor: Floats32  # (n, r)
    rest: Floats32  # (n,): the diagonal of K - F F'

    def __post_init__(self) -> None:
        self.lift32 = self.lift.astype(np.float32)

    @classmethod
    def gather(cls, kernel: Kernel, factor: Floats32, rows: Rows) -> "Block":
        """The block of `rows` (n,)."""
        inner: Entries | Features
        if kernel.gram is None:
            own = kernel.training.rows[rows]
            inner = (
                Entries.of(own) if len(own) <= own.shape[1] else Features(own, kernel.training.mean)
            )
        else:
            centred, widened = _square(kernel.gram, rows), kernel.exact is None
            wide = _widened(centred) if kernel.exact is None else _square(kernel.exact, rows)
            inner = Entries(centred, wide, widened)
        # The leading directions come last; a small block needs fewer of them.
        part = factor[rows, -max(16, len(rows) // 10) :]
        rest = kernel.diagonal[rows].astype(np.float32) - np.square(part).sum(1)
        return cls(inner, kernel.lift[rows], kernel.constant, part, rest.clip(min=0))

    @property
    def factored(self) -> bool:
        """Whether systems of many active rows are solved at once, and not by gradients."""
        return isinstance(self.inner, Features)

    def part(self, rows: Rows) -> "Block":
        """The block of some of these rows."""
        factor, rest = self.factor[rows], self.rest[rows]
        return Block(self.inner.part(rows), self.lift[rows], self.constant, factor, rest)

    def multiply(self, vector: Floats32) -> Floats32:
        """K v of (n,) v, in fp32 but for the sum that all rows share."""
        assert isinstance(self.inner, Entries)
        total = vector.sum(dtype=np.float64)
        level = float(self.lift32 @ vector) + self.constant * total
        product = self.inner.times(vector)
        product += np.float32(total) * self.lift32
        product += np.float32(level)
        return product

    def multiply_exactly(self, vector: Floats) -> Floats:
        """K v of (n,) v, in fp64."""
        total = vector.sum()
        level = self.lift @ vector + self.constant * total
        product = self.inner.times_exactly(vector)
        product += total * self.lift
        product += level
        return product

    def solve(self, active: Bools, weights: Floats, cost: float, remainder: Floats) -> Floats:
        """(K_II + D_II)^-1 r on the active rows I, (n,) fp64, 0 elsewhere; D = 1 / (2 C w)."""
        if isinstance(self.inner, Features):
            return self.inner.solve(active, weights, cost, remainder)
        rows = np.flatnonzero(active)

        def system() -> Floats:
            matrix = self.exact(rows)
            matrix[np.diag_indices(len(rows))] += 1 / (2 * cost * weights[rows])
            return matrix

        # The upper half of its transpose is what LAPACK reads and overwrites.
        _, solved, failed = dposv(system().T, remainder[rows], overwrite_a=1)
        if failed:  # not positive definite in rounding; an LU still solves it
            lower = system()
            solved = np.linalg.solve(np.tril(lower) + np.tril(lower, -1).T, remainder[rows])
        found = np.zeros_like(remainder)
        found[rows] = solved
        return found

    def exact(self, rows: Rows) -> Floats:
        """K of some of these rows, in ascending order, fp64: its lower half."""
        assert isinstance(self.inner, Entries)
        lift = self.lift[rows]
        whole = self.inner.centred if self.inner.wide is None else self.inner.wide
        found = _square(whole, rows).astype(np.float64, copy=False)
        found += lift[:, None]
        found += lift + self.constant
        return found


def bytes_of(kernel: Kernel, rows: int) -> int:
    """What solving a problem on a block of so many rows takes."""
    width = int(kernel.training.rows.shape[1])
    if kernel.gram is None and rows > width:
        return 10 * rows * width + 24 * (width + 1) ** 2
    if kernel.gram is None and rows > WIDE_ROWS:
        return 16 * rows**2
    return (WIDE_BYTES if rows <= WIDE_ROWS else BYTES) * rows**2


def _widened(centred: Floats32) -> Floats | None:
    return centred.astype(np.float64) if len(centred) <= WIDE_ROWS else None


def _square(matrix: NDArray[Any], rows: Rows) -> NDArray[Any]:
    """The lower half of a symmetric matrix of some rows, in ascending order; else zeros."""
    found = np.zeros((len(rows), len(rows)), matrix.dtype)
    for at, row in enumerate(rows.tolist()):
        matrix[row].take(rows[: at + 1], out=found[at, : at + 1], mode="clip")
    return found

"""The centred Gram matrix that all classes, folds and costs of a layer share, in fp32.

With mu the mean training row and X~ = X - mu, the kernel of features and regularised bias is

    K = X X' + 1 1' = X~ X~' + a 1' + 1 a' + c 1 1',    a = X~ mu,    c = mu'mu + 1.

Uncentred, one constant eigenvalue (thousands) would drown in fp32 what ranks the images; so X~ X~'
is kept in fp32, a and c in fp64. At large costs the rounding of a matrix entry is amplified: few
rows afford X~ X~' in fp64 as well; for many no such matrix exists, and what is published is
refined on the features themselves (`exact_weights`). Of many narrow rows not even the one of fp32
does, and all products go through X~.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.svm.solver.convergence import COMPACT_COST
from benchmarks.svm.solver.fits import Floats
from benchmarks.svm.solver.multiplying import by_strips, in_threads, times
from benchmarks.svm.solver.rows import CHUNK, TrainingRows, centred, normalised, require_room

BLOCK = 640  # rows converted to fp64 at a time
SAMPLE = 100  # rows by which the size of entries is judged where they are not kept


class Kernel:
    """Inner products of one layer's training rows, and of test rows with them.

    `size` is N, `gram` X~ X~' (N, N) fp32 or None, `exact` the same in fp64 or None, `lift` is a
    (N,) fp64, `constant` is c. `multiply` is the product with all of K.
    """

    def __init__(self, training: TrainingRows) -> None:
        self.training, self.size = training, len(training.rows)
        self.constant = float(training.mean @ training.mean) + 1.0
        self.lift, gram = training.lift, training.gram
        self.exact = gram if gram is not None and gram.dtype == np.float64 else None
        self.gram = None if gram is None else gram.astype(np.float32, copy=False)
        rows = training.rows
        squares = np.vecdot(rows, rows) if gram is None else gram.diagonal()
        self.diagonal = squares.astype(np.float64) + 2 * self.lift + self.constant

    def test_rows(self, features: NDArray[Any]) -> "ScoredRows":
        """Test rows (T, D), to be scored; `UserError` when they would not fit into memory."""
        own, narrow = self.training, self.gram is None
        count, width = features.shape
        require_room(0 if narrow else self.size, count, width, own.rows.dtype.type)
        rows, lift = centred(features, own.epsilon, own.mean, own.rows.dtype.type)
        return ScoredRows(
            own.rows, rows, None if narrow else own.multiplier.products(own.rows, rows), lift
        )

    def product(self, vectors: NDArray[np.float32], threads: int | None = None) -> NDArray[Any]:
        """`vectors @ X~ X~'` for (M, N) fp32 vectors."""
        if self.gram is not None:
            return times(vectors, self.gram, threads)
        rows = self.training.rows
        return times(times(vectors, rows, threads), rows.T, threads)

    def add_lift(self, product: NDArray[Any], vectors: Floats) -> Floats:
        """Complete `vectors @ X~ X~'` (M, N) to `vectors @ K`, in fp64."""
        total = vectors.sum(1)
        level = vectors @ self.lift + self.constant * total
        lifted: Floats = total[:, None] * self.lift
        lifted += level[:, None]
        lifted += product
        return lifted

    def multiply(self, vectors: Floats, threads: int | None = None) -> Floats:
        """`vectors @ K` for (M, N) vectors, fp64; the N x N part in fp32."""
        return self.add_lift(self.product(vectors.astype(np.float32), threads), vectors)

    def multiply_exactly(self, vectors: Floats, threads: int | None = None) -> Floats:
        """As `multiply`, without rounding the vectors or the sums to fp32."""
        if self.exact is not None:
            return self.add_lift(times(vectors, self.exact, threads), vectors)
        if self.gram is not None:
            return self.add_lift(_times_wide(vectors, self.gram, threads), vectors)
        rows = self.training.rows
        inner, product = _times_wide(vectors, rows, threads), np.empty_like(vectors)

        def multiply(strip: slice) -> None:
            for start in range(strip.start, min(strip.stop, self.size), BLOCK):
                some = slice(start, min(start + BLOCK, strip.stop))
                product[:, some] = inner @ rows[some].astype(np.float64).T

        by_strips(multiply, self.size, threads)
        return self.add_lift(product, vectors)

    def rounding(self, dual: NDArray[Any], costs: Floats) -> Floats:
        """By how much f of b (..., L, N) may be off on any row for its rounding, (..., L).

        For each b of costs (..., L), solved with K, or X~, in fp32: in units of fp32's rounding of
        |b| times an entry of K, the most that was seen on 1,670 rows and spectra of three kinds,
        and a little more. Sums up to COMPACT_COST are of fp32 as well, and the more the longer.
        """
        own = float((self.diagonal - 2 * self.lift).mean()) - self.constant
        summed = 2.5 * np.sqrt(self.size) * self._entry
        rounded = 15 * self._entry + 1.5 * own
        unit = np.where(costs <= COMPACT_COST, summed, rounded) * 2.0**-24
        found: Floats = unit * np.sqrt(np.vecdot(dual, dual))
        return found

    @cached_property
    def _entry(self) -> float:
        """The root mean square of X~ X~', of some rows where it is not kept."""
        gram, rows = self.gram, self.training.rows
        some = rows[:: max(1, self.size // SAMPLE)] @ rows.T if gram is None else gram
        return float(np.sqrt(np.vecdot(some, some).mean(dtype=np.float64) / self.size))

    def exact_weights(self, dual: Floats) -> Floats:
        """w = X' b (M, D) of (M, N) b, on the normalised features, all in fp64."""
        own = self.training
        weights = np.zeros((len(dual), own.features.shape[1]))

        def weigh(where: slice) -> Floats:
            found: Floats = dual[:, where] @ normalised(own.features, own.epsilon, where)
            return found

        with in_threads() as each:
            for part in each(weigh, len(own.features), CHUNK):
                weights += part
        return weights

    def exact_scores(self, weights: Floats, features: NDArray[Any]) -> Floats:
        """X w (M, rows) of (M, D) w for any rows' features, all in fp64, without the bias."""
        scores = np.empty((len(weights), len(features)))

        def score(where: slice) -> None:
            scores[:, where] = weights @ normalised(features, self.training.epsilon, where).T

        with in_threads() as each:
            list(each(score, len(features), CHUNK))
        return scores


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """T rows that are scored beside N training rows, both centred, of D features."""

    training: NDArray[Any]  # (N, D)
    rows: NDArray[Any]  # (T, D)
    products: NDArray[Any] | None  # (N, T): of the former with the latter, where they are kept
    lift: Floats  # (T,): a of `kernel`

    def scores(self, dual: NDArray[Any], chosen: NDArray[np.int64] | None = None) -> Floats:
        """What ranks the rows, (M, T), for b (M, n) on the training rows `chosen` (None: all)."""
        some = slice(None) if chosen is None else chosen
        lifted: Floats = dual.sum(1, dtype=np.float64)[:, None] * self.lift
        if self.products is None:
            # b at large costs cancels out: in fp64 that takes no more than the rows of the draw.
            weights = _times_wide(dual.astype(np.float64, copy=False), self.training[some], 1)
            lifted += weights.astype(self.rows.dtype) @ self.rows.T
            return lifted
        # NumPy's products of an odd number of rows are slower.
        count = len(dual)
        padded = np.zeros((count + count % 2, dual.shape[1]), self.rows.dtype)
        padded[:count] = dual
        lifted += (padded @ self.products[some])[:count]
        return lifted


def _times_wide(vectors: Floats, matrix: NDArray[np.float32], threads: int | None) -> Floats:
    """`vectors @ matrix` in fp64, (M, K) of (M, N) and (N, K), by rows that are widened in turn."""
    used = np.flatnonzero((vectors != 0).any(0))
    product = np.zeros((len(vectors), matrix.shape[1]))

    def multiply(strip: slice) -> None:
        for start in range(0, len(used), BLOCK):
            rows = used[start : start + BLOCK]
            wide = matrix[rows, strip].astype(np.float64)
            product[:, strip] += vectors[:, rows] @ wide

    by_strips(multiply, matrix.shape[1], threads)
    return product


def eigenspace(kernel: Kernel, rank: int, seed: int, iterations: int = 2) -> NDArray[np.float32]:
    """F (N, rank) fp32 with F F' close to the leading part of K: randomised subspace iteration.

    Halko, Martinsson and Tropp (2011), algorithm 4.4. It only preconditions: results do not
    depend on how good it is.
    """
    size = kernel.size
    basis = np.random.default_rng([seed, size, rank]).standard_normal((min(size, rank + 8), size))
    for _ in range(iterations + 1):
        basis = np.ascontiguousarray(np.linalg.qr(kernel.multiply(basis).T).Q.T)
    values, vectors = np.linalg.eigh(basis @ kernel.multiply(basis).T)
    keep = slice(max(0, len(values) - rank), None)
    factor = (vectors[:, keep] * np.sqrt(values[keep].clip(min=0))).T @ basis
    return np.ascontiguousarray(factor.T, np.float32)

"""The centred Gram matrix that all classes, folds and costs of a layer share, in fp32.

With mu the mean training row and X~ = X - mu, the kernel of features and regularised bias is

    K = X X' + 1 1' = X~ X~' + a 1' + 1 a' + c 1 1',    a = X~ mu,    c = mu'mu + 1.

Uncentred, one constant eigenvalue (thousands) would drown in fp32 what ranks the images; so X~ X~'
is kept in fp32, a and c in fp64. At large costs the rounding of a matrix entry is amplified: few
rows afford X~ X~' in fp64 as well; for many no such matrix exists, and what is published is
refined on the features themselves (`exact_weights`).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.svm.solver.fits import Floats
from benchmarks.svm.solver.multiplying import in_threads, times
from benchmarks.svm.solver.rows import CHUNK, TrainingRows, centred, normalised

BLOCK = 640  # rows converted to fp64 at a time


class Kernel:
    """Inner products of one layer's training rows, and of test rows with them.

    `gram` is X~ X~' (N, N) fp32, `exact` the same in fp64 or None, `lift` is a (N,) fp64,
    `constant` is c. `multiply` is the product with all of K.
    """

    def __init__(self, training: TrainingRows) -> None:
        self.training = training
        self.constant = float(training.mean @ training.mean) + 1.0
        self.lift = torch.from_numpy(training.lift)
        gram = torch.from_numpy(training.gram)
        self.exact = gram if gram.dtype == torch.float64 else None
        self.gram = gram.float()
        self.diagonal = gram.diagonal().double() + 2 * self.lift + self.constant

    def test_gram(self, features: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """X~ of the training rows with that of test rows (T, D), (N, T), and a of the latter."""
        own = self.training
        rows, lift = centred(features, own.epsilon, own.mean, own.rows.dtype.type)
        return torch.from_numpy(own.multiplier.products(own.rows, rows)), torch.from_numpy(lift)

    def product(self, vectors: Tensor) -> Tensor:
        """`vectors @ gram` for (M, N) fp32 vectors."""
        return torch.from_numpy(times(vectors.numpy(), self.gram.numpy()))

    def add_lift(self, product: Tensor, vectors: Tensor) -> Tensor:
        """Complete `vectors @ gram` (M, N) to `vectors @ K`, in fp64."""
        vectors = vectors.double()
        total = vectors.sum(1)
        level = vectors @ self.lift + self.constant * total
        lifted = total[:, None] * self.lift[None] + level[:, None]
        return lifted + product

    def multiply(self, vectors: Tensor) -> Tensor:
        """`vectors @ K` for (M, N) vectors, fp64; the N x N part in fp32."""
        return self.add_lift(self.product(vectors.float()), vectors)

    def multiply_exactly(self, vectors: Tensor) -> Tensor:
        """As `multiply`, without rounding the vectors or the sums to fp32."""
        if self.exact is not None:
            return self.add_lift(vectors @ self.exact, vectors)
        given, gram = vectors.numpy(), self.gram.numpy()
        used = np.flatnonzero((given != 0).any(0))
        product = np.zeros_like(given)
        for start in range(0, len(used), BLOCK):
            rows = used[start : start + BLOCK]
            product += times(given[:, rows], gram[rows].astype(np.float64))
        return self.add_lift(torch.from_numpy(product), vectors)

    def exact_weights(self, dual: Tensor) -> Tensor:
        """w = X' b (M, D) of (M, N) b, on the normalised features, all in fp64."""
        own, given = self.training, dual.numpy()
        weights = np.zeros((len(dual), own.features.shape[1]))

        def weigh(where: slice) -> Floats:
            found: Floats = given[:, where] @ normalised(own.features, own.epsilon, where)
            return found

        with in_threads() as each:
            for part in each(weigh, len(own.features), CHUNK):
                weights += part
        return torch.from_numpy(weights)

    def exact_scores(self, weights: Tensor, features: NDArray[Any]) -> Tensor:
        """X w (M, rows) of (M, D) w for any rows' features, all in fp64, without the bias."""
        given, scores = weights.numpy(), np.empty((len(weights), len(features)))

        def score(where: slice) -> None:
            scores[:, where] = given @ normalised(features, self.training.epsilon, where).T

        with in_threads() as each:
            list(each(score, len(features), CHUNK))
        return torch.from_numpy(scores)


def eigenspace(kernel: Kernel, rank: int, seed: int, iterations: int = 2) -> Tensor:
    """F (N, rank) fp32 with F F' close to the leading part of K: randomised subspace iteration.

    Halko, Martinsson and Tropp (2011), algorithm 4.4. It only preconditions: results do not
    depend on how good it is.
    """
    size = len(kernel.gram)
    generator = np.random.default_rng([seed, size, rank])
    start = generator.standard_normal((min(size, rank + 8), size))
    basis = torch.from_numpy(start)
    for _ in range(iterations + 1):
        basis = torch.linalg.qr(kernel.multiply(basis).T).Q.T
    image = kernel.multiply(basis)
    values, vectors = torch.linalg.eigh(basis @ image.T)
    keep = slice(max(0, len(values) - rank), None)
    factor = (vectors[:, keep] * values[keep].clamp(min=0).sqrt()).T @ basis
    result: Tensor = factor.T.float().contiguous()
    return result

"""The centred Gram matrix that all classes, folds and costs of a layer share, in fp32.

With mu the mean training row and X~ = X - mu, the kernel of features and regularised bias is

    K = X X' + 1 1' = X~ X~' + a 1' + 1 a' + c 1 1',    a = X~ mu,    c = mu'mu + 1.

Uncentred, one constant eigenvalue (thousands) would drown in fp32 what ranks the images; so X~ X~'
is kept in fp32, a and c in fp64. At large costs the rounding of a matrix entry is amplified: few
rows afford X~ X~' in fp64 as well; for many no such matrix exists, and what is published is
refined on the features themselves (`exact_values`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EXACT_ROWS = 2500  # up to so many training rows the Gram matrix is kept in fp64, too
CHUNK = 128  # rows normalised at a time: 8 MB of fp64 at 8192 dimensions
BLOCK = 640  # rows of the Gram matrix made at a time


class Kernel:
    """Inner products of one layer's training rows, and of test rows with them.

    `gram` is X~ X~' (N, N) fp32, `exact` the same in fp64 or None, `lift` is a (N,) fp64,
    `constant` is c. `multiply` is the product with all of K. Everything lives on `device`; `rows`
    is X~ (N, D), fp64 where `exact` is there and else fp32.
    """

    def __init__(self, features: NDArray[Any], epsilon: float, device: torch.device) -> None:
        self.device, self.features, self.epsilon = device, features, epsilon
        self.dtype = torch.float64 if len(features) <= EXACT_ROWS else torch.float32
        self.mean = _mean(features, epsilon, device)
        self.constant = float(self.mean @ self.mean) + 1.0
        self.rows, self.lift = self.centre(features)
        gram = _symmetric_product(self.rows)
        self.exact = gram if gram.dtype == torch.float64 else None
        self.gram = gram.float()
        self.diagonal = gram.diagonal().double() + 2 * self.lift + self.constant

    def centre(self, features: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Normalised rows minus the mean, (N, D), and their products with it, (N,) fp64."""
        rows = torch.empty(features.shape, dtype=self.dtype, device=self.device)
        lift = torch.empty(len(features), dtype=torch.float64, device=self.device)
        for where, chunk in _normalised(features, self.epsilon, self.device):
            chunk -= self.mean
            rows[where] = chunk
            lift[where] = chunk @ self.mean
        return rows, lift

    def add_lift(self, product: Tensor, vectors: Tensor) -> Tensor:
        """Complete `vectors @ gram` (M, N) to `vectors @ K`, in fp64."""
        total = vectors.sum(1, dtype=torch.float64)
        level = vectors.double() @ self.lift + self.constant * total
        lifted = total[:, None] * self.lift[None] + level[:, None]
        return lifted + product

    def multiply(self, vectors: Tensor) -> Tensor:
        """`vectors @ K` for (M, N) vectors, fp64; the N x N part in fp32."""
        vectors = vectors.float()
        return self.add_lift(vectors @ self.gram, vectors)

    def multiply_exactly(self, vectors: Tensor) -> Tensor:
        """As `multiply`, without rounding the vectors or the sums to fp32."""
        if self.exact is not None:
            return self.add_lift(vectors @ self.exact, vectors)
        product = torch.empty_like(vectors)
        for start in range(0, len(self.gram), BLOCK):
            stop = start + BLOCK
            product[:, start:stop] = vectors @ self.gram[start:stop].T.double()
        return self.add_lift(product, vectors)

    def block(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """X~ X~' and K of (n,) row indices with themselves, (n, n) fp32 and fp64."""
        lift = self.lift[rows]
        centred = self.gram.index_select(0, rows).index_select(1, rows)
        if self.exact is None:
            block = centred.double()
        else:
            block = self.exact.index_select(0, rows).index_select(1, rows)
        block += lift[:, None]
        block += lift + self.constant
        return centred, block

    def exact_weights(self, dual: Tensor) -> Tensor:
        """w = X' b (M, D) of (M, N) b, on the normalised features, all in fp64."""
        shape = (len(dual), self.features.shape[1])
        weights = torch.zeros(shape, dtype=torch.float64, device=self.device)
        for where, chunk in _normalised(self.features, self.epsilon, self.device):
            weights.addmm_(dual[:, where], chunk)
        return weights

    def exact_scores(self, weights: Tensor, features: NDArray[Any]) -> Tensor:
        """X w (M, rows) of (M, D) w for any rows' features, all in fp64, without the bias."""
        shape = (len(weights), len(features))
        scores = torch.empty(shape, dtype=torch.float64, device=self.device)
        for where, chunk in _normalised(features, self.epsilon, self.device):
            scores[:, where] = weights @ chunk.T
        return scores

    def exact_values(self, dual: Tensor) -> Tensor:
        """f = K b (M, N) of (M, N) b in fp64, from the features."""
        scores = self.exact_scores(self.exact_weights(dual), self.features)
        return scores + dual.sum(1)[:, None]


def eigenspace(kernel: Kernel, rank: int, seed: int, iterations: int = 2) -> Tensor:
    """F (N, rank) fp32 with F F' close to the leading part of K: randomised subspace iteration.

    Halko, Martinsson and Tropp (2011), algorithm 4.4. It only preconditions: results do not
    depend on how good it is.
    """
    size = len(kernel.gram)
    generator = np.random.default_rng([seed, size, rank])
    start = generator.standard_normal((min(size, rank + 8), size))
    basis = torch.from_numpy(start).to(kernel.device)
    for _ in range(iterations + 1):
        basis = torch.linalg.qr(kernel.multiply(basis).T).Q.T
    image = kernel.multiply(basis)
    values, vectors = torch.linalg.eigh(basis @ image.T)
    keep = slice(max(0, len(values) - rank), None)
    factor = (vectors[:, keep] * values[keep].clamp(min=0).sqrt()).T @ basis
    result: Tensor = factor.T.float().contiguous()
    return result


def _symmetric_product(rows: Tensor) -> Tensor:
    """X X' with each off-diagonal block made once: torch has no symmetric product."""
    size = len(rows)
    gram = torch.empty((size, size), dtype=rows.dtype, device=rows.device)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        strip = rows[start:stop] @ rows[start:].T
        gram[start:stop, start:] = strip
        gram[stop:, start:stop] = strip[:, stop - start :].T
        square = gram[start:stop, start:stop]
        square.copy_((square + square.T) / 2)
    return gram


def _mean(features: NDArray[Any], epsilon: float, device: torch.device) -> Tensor:
    total = torch.zeros(features.shape[1], dtype=torch.float64, device=device)
    for _, chunk in _normalised(features, epsilon, device):
        total += chunk.sum(0)
    return total / len(features)


def _normalised(
    features: NDArray[Any], epsilon: float, device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of x / (||x|| + epsilon), fp64, with where they stand."""
    for start in range(0, len(features), CHUNK):
        where = slice(start, start + CHUNK)
        # Files may be of any byte order, width and memory order; torch's tensors may not.
        rows = np.array(features[where], dtype=np.float64, order="C")
        chunk = torch.from_numpy(rows).to(device)
        yield where, chunk / (torch.linalg.vector_norm(chunk, dim=1, keepdim=True) + epsilon)

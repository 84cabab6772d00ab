"""One layer's rows as the SVMs see them, in NumPy: normalised, centred, and their products.

With mu the mean of the normalised training rows, X~ = x / (||x|| + epsilon) - mu. Nothing here
needs torch, whose import takes about as long: threads make the products meanwhile.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slurm.threads import share_of

EXACT_ROWS = 2500  # up to so many training rows their products are made in fp64
CHUNK = 128  # rows normalised at a time: 8 MB of fp64 at 8192 dimensions
STRIP = 256  # rows multiplied at a time

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """N training rows of D features, centred, and their products with one another."""

    features: NDArray[Any]  # (N, D) as they came
    epsilon: float
    mean: Floats  # (D,): mu
    rows: NDArray[Any]  # (N, D): X~, fp64 up to EXACT_ROWS rows and else fp32
    lift: Floats  # (N,): X~ mu
    gram: NDArray[Any]  # (N, N): X~ X~', of the same type


@contextmanager
def training_rows(features: NDArray[Any], epsilon: float) -> Iterator[TrainingRows]:
    """Centre training features (N, D); `gram` is made meanwhile and whole after the `with`."""
    count, dtype = len(features), np.float64 if len(features) <= EXACT_ROWS else np.float32
    with _threads() as each:
        sums = each(lambda where: normalised(features, epsilon, where).sum(0), count, CHUNK)
        mean: Floats = np.sum(list(sums), axis=0) / count
    rows, lift = centred(features, epsilon, mean, dtype)
    gram = np.empty((count, count), dtype)

    def multiply(strip: slice) -> None:
        start, stop = strip.start, min(strip.stop, count)
        product = rows[strip] @ rows[start:].T
        gram[strip, start:] = product
        gram[stop:, strip] = product[:, stop - start :].T
        square = gram[strip, strip]
        square[:] = (square + square.T) / 2

    with _threads() as each:
        made = each(multiply, count, STRIP)
        yield TrainingRows(features, epsilon, mean, rows, lift, gram)
        list(made)


def centred(
    features: NDArray[Any], epsilon: float, mean: Floats, dtype: type
) -> tuple[NDArray[Any], Floats]:
    """Normalised rows minus `mean`, (N, D) of `dtype`, and their products with it, (N,)."""
    rows: NDArray[Any] = np.empty(features.shape, dtype)
    lift = np.empty(len(features))

    def centre(where: slice) -> None:
        chunk = normalised(features, epsilon, where)
        chunk -= mean
        rows[where] = chunk
        lift[where] = chunk @ mean

    with _threads() as each:
        list(each(centre, len(features), CHUNK))
    return rows, lift


def products(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """left right', (N, M) of (N, D) and (M, D)."""
    found = np.empty((len(left), len(right)), left.dtype)

    def multiply(strip: slice) -> None:
        np.matmul(left[strip], right.T, out=found[strip])

    with _threads() as each:
        list(each(multiply, len(left), STRIP))
    return found


def normalised(features: NDArray[Any], epsilon: float, where: slice) -> Floats:
    """x / (||x|| + epsilon) of some rows, a copy."""
    # Files may be of any byte order, width and memory order.
    chunk = np.array(features[where], dtype=np.float64, order="C")
    norm = np.sqrt(np.einsum("nd,nd->n", chunk, chunk))
    chunk /= norm[:, None] + epsilon
    return chunk


def chunks(count: int) -> Iterator[slice]:
    """Rows that are normalised together."""
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


@contextmanager
def _threads() -> Iterator[Callable[[Callable[[slice], Any], int, int], Iterator[Any]]]:
    """Work on strips of rows in threads, each of which multiplies with one thread.

    The threads of NumPy's own products would keep spinning for a while, beside those of torch.
    """
    from threadpoolctl import threadpool_limits

    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(share_of(1, os.environ)) as pool,
    ):
        try:
            yield lambda work, count, step: pool.map(
                work, [slice(start, start + step) for start in range(0, count, step)]
            )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

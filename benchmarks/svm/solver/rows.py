"""One layer's rows as the SVMs see them, in NumPy: normalised, centred, and their products.

With mu the mean of the normalised training rows, X~ = x / (||x|| + epsilon) - mu.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.devices import free_bytes
from benchmarks.svm.solver.multiplying import (
    STRIP,
    Multiplier,
    fill_gram,
    gram_on_gpu,
    in_threads,
)
from slurm.errors import UserError

EXACT_ROWS = 2500  # up to so many training rows their products are made in fp64
# Of more rows than this, each of them with few features, products are no longer kept: to go through
# the features each time takes less work then, and little memory.
MANY_ROWS, NARROW = 12_000, 4  # rows, and rows for each feature
VERY_NARROW = 16  # rows for each feature with which that is so of any rows beyond EXACT_ROWS
EIGENSPACE = 600  # values a row that finding the leading part of K takes meanwhile
CHUNK = 128  # rows normalised at a time: 8 MB of fp64 at 8192 dimensions

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """N training rows of D features, centred, and their products with one another.

    The products of many narrow rows are not kept.
    """

    features: NDArray[Any]  # (N, D) as they came
    epsilon: float
    mean: Floats  # (D,): mu
    rows: NDArray[Any]  # (N, D): X~, fp64 up to EXACT_ROWS rows and else fp32
    lift: Floats  # (N,): X~ mu
    gram: NDArray[Any] | None  # (N, N): X~ X~', of the same type
    multiplier: Multiplier  # which makes the products with other rows too


@contextmanager
def training_rows(
    features: NDArray[Any], epsilon: float, device: str = "cpu"
) -> Iterator[TrainingRows]:
    """Centre training features (N, D); `gram`, if it is kept, is whole after the `with`.

    Cores make it while the body runs; see `multiplying` for `device`. `UserError` when it would
    not fit into memory.
    """
    (count, width), narrow = features.shape, is_narrow(*features.shape)
    dtype = np.float64 if count <= EXACT_ROWS else np.float32
    require_room(0 if narrow else count, count, width, dtype)
    with in_threads() as each:
        sums = each(lambda where: normalised(features, epsilon, where).sum(0), count, CHUNK)
        mean: Floats = np.sum(list(sums), axis=0) / count
    rows, lift = centred(features, epsilon, mean, dtype)
    multiplier = Multiplier(device)
    if narrow:
        if device == "cuda":  # there is nothing for it to do, but asked for it must be there
            multiplier.gpu(0, 0, 0)
            multiplier.used_gpu = False
        yield TrainingRows(features, epsilon, mean, rows, lift, None, multiplier)
        return
    gram = np.empty((count, count), dtype)
    training = TrainingRows(features, epsilon, mean, rows, lift, gram, multiplier)
    # By symmetry cores make half of it.
    gpu = multiplier.gpu(count, count, width, share=0.5)
    if gpu is not None:
        yield training
        gram_on_gpu(gpu, rows, gram)
        return

    def multiply(strip: slice) -> None:
        fill_gram(gram, strip, lambda strip, start: rows[strip] @ rows[start:].T)

    with in_threads() as each:
        made = each(multiply, count, STRIP)
        yield training
        list(made)


def is_narrow(rows: int, width: int) -> bool:
    """Whether the products of so many rows of that width are better not kept."""
    fewest = EXACT_ROWS if rows > VERY_NARROW * width else MANY_ROWS
    return rows > fewest and rows > NARROW * width


def require_room(left: int, right: int, width: int, dtype: type) -> None:
    """`UserError` unless (right, width) rows and (left, right) products fit into free memory.

    Of products that are not kept `left` is 0; their leading part is looked for all the same.
    """
    each = width + (left or EIGENSPACE)
    needed, free = np.dtype(dtype).itemsize * right * each, free_bytes()
    if free is not None and needed > free:
        what = f"the products of {left:,} rows with {right:,}" if left else f"{right:,} rows"
        raise UserError(
            f"{what} of {width:,} features take {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free: give the task more memory, or take --solver "
            "liblinear, which makes no such products"
        )


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

    with in_threads() as each:
        list(each(centre, len(features), CHUNK))
    return rows, lift


def normalised(features: NDArray[Any], epsilon: float, where: slice) -> Floats:
    """x / (||x|| + epsilon) of some rows, a copy."""
    # Files may be of any byte order, width and memory order.
    chunk = np.array(features[where], dtype=np.float64, order="C")
    norm = np.sqrt(np.einsum("nd,nd->n", chunk, chunk))
    chunk /= norm[:, None] + epsilon
    return chunk

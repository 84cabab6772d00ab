"""PCA-whitening of features that lie on disk, on any device, each process its rows.

A mean is taken out first and sums are in fp64: a covariance of sums of squares minus squares of
sums, in fp32, drowns where the mean is large against the spread. That of a sample will do, as what
is left of the true one is known to the end. Two steps, the second of which makes the answer exact:
the covariance of all D dimensions gives the leading directions, and the fp64 covariance of what is
projected on them says how they are scaled, and how many there are.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import sqrt
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from pretrain.deepcluster.clusters.feature_file import stripe
from slurm import distributed
from slurm.errors import UserError

BLOCK = 8192  # rows at a time on a GPU
CORE_BLOCK = 2048  # by each thread: 16 MB of ResNet-50's features
MOST_THREADS = 8  # each holds a block and a covariance
SAMPLE = 4096  # rows, of each process, whose mean is taken out first
GPU_READERS = 4  # one thread reads a mapped file slower than a GPU takes it
PRECISION = {np.dtype(np.float32): 2.0**-23, np.dtype(np.float16): 2.0**-10}
TINY = {np.dtype(np.float32): 0.0, np.dtype(np.float16): 2.0**-24}  # the step near zero
MARGIN = 4.0  # over the variance that rounding alone can make

Rows = NDArray[Any]  # of float32 or float16
Points = NDArray[np.float32]


def whiten(rows: Rows, dimensions: int, device: torch.device) -> Points:
    """The leading principal components at unit variance: (n, D) -> (n, dimensions) float32.

    `rows` are this process's, float32 or float16, and may be a memory map; mean and covariance are
    over all processes'. The result has mean zero and covariance I, its first column the most
    variance.

    Raises:
        UserError: values that are not finite, or that vary in fewer directions than asked for, by
            more than their own rounding.
    """
    near = _sample_mean(rows, device)
    count, rest, covariance = _moments(rows, near, device)
    for sums, fault in (
        (rest, "hold NaN or infinity"),
        (covariance, "are so large that their squares overflow"),
    ):
        if not bool(torch.isfinite(sums).all()):
            raise UserError(
                f"the network's features {fault}: training has diverged; use a lower learning rate"
            )
    leading = _leading(covariance, dimensions)
    projected = np.empty((len(rows), dimensions), np.float32)
    _project(rows, near, leading.float(), device, projected)

    _, shift, spread = _moments(projected, torch.zeros_like(rest[:dimensions]), device)
    values, vectors = torch.linalg.eigh(spread)
    floor = _rounding(covariance, near + rest, count, leading @ vectors, rows.dtype)
    rank = int((values > floor).sum())
    if rank < dimensions:
        half = "--features fp32, which rounds less, " if rows.dtype == np.float16 else ""
        fewer = f"a --pca well below {rank}, " if rank > 2 else ""
        raise UserError(
            f"the features vary in {rank} directions, fewer than the {dimensions} of PCA: the "
            "images are too much alike, or the network has collapsed; begin anew with "
            f"{half}{fewer}or with more images"
        )
    scaled = (vectors / values.sqrt()).flip(1)
    _project(projected, shift, scaled, device, projected)
    return projected


def _sample_mean(rows: Rows, device: torch.device) -> Tensor:
    """The mean (D,) float32 of some rows of each process."""
    some = rows[:: max(1, len(rows) // SAMPLE)]
    sums = torch.from_numpy(np.append(some.sum(0, dtype=np.float64), len(some))).to(device)
    distributed.total(sums)
    return (sums[:-1] / sums[-1]).float()


def _moments(rows: Rows, near: Tensor, device: torch.device) -> tuple[int, Tensor, Tensor]:
    """The number of rows, their mean (D,) less `near`, and covariance (D, D), of all processes.

    Both are fp64; the products of a block are made in the type of `near`.
    """
    width = rows.shape[1]
    sums = torch.zeros(width + 1, width, dtype=torch.float64, device=device)
    if device.type == "cpu":
        shift = near.numpy()

        def add(total: NDArray[np.float64], where: slice) -> None:
            block = rows[where] - shift
            total[:-1] += block.T @ block  # which NumPy makes with half the work of others
            total[-1] += np.ones(len(block), block.dtype) @ block

        for total in _by_threads(add, len(rows), (width + 1, width)):
            sums += torch.from_numpy(total)
    else:
        for _, block in _blocks(rows, device):
            centred = block - near
            sums[:-1] += centred.T @ centred
            sums[-1] += centred.sum(0, dtype=torch.float64)
    distributed.total(sums)
    rows_of = torch.full((1,), len(rows), dtype=torch.int64, device=device)
    count = int(distributed.total(rows_of))
    rest = sums[-1] / count
    return count, rest, sums[:-1] / count - rest.outer(rest)


def _project(rows: Rows, shift: Tensor, onto: Tensor, device: torch.device, found: Points) -> None:
    """(x - shift) onto for all rows x, into `found`, which may be the rows."""
    if device.type == "cpu":
        matrix, less = onto.numpy(), shift.numpy()

        def project(_: object, where: slice) -> None:
            found[where] = (rows[where] - less) @ matrix

        list(_by_threads(project, len(rows), (0, 0)))
        return
    for where, block in _blocks(rows, device):
        found[where] = ((block - shift) @ onto).float().cpu().numpy()


def _by_threads(
    work: Callable[[NDArray[np.float64], slice], None], rows: int, shape: tuple[int, int]
) -> Iterator[NDArray[np.float64]]:
    """Work on blocks of rows, a stripe of them by each thread; yields what each has summed up.

    `work(total, where)` adds to its thread's total. A thread multiplies by itself: those of BLAS
    would wait for each other. Sums depend on the number of threads, but not on their pace.
    """
    threads = max(1, min(MOST_THREADS, torch.get_num_threads(), rows // CORE_BLOCK))

    def run(thread: int) -> NDArray[np.float64]:
        total = np.zeros(shape)
        first, last = stripe(rows, thread, threads)
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(first, last, CORE_BLOCK):
                work(total, slice(start, min(start + CORE_BLOCK, last)))
        return total

    # Values that are not finite are looked for in the sums.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        yield from pool.map(run, range(threads))


def _leading(covariance: Tensor, dimensions: int) -> Tensor:
    """The eigenvectors (D, dimensions) of the largest eigenvalues, ascending."""
    if covariance.device.type != "cpu":
        vectors: Tensor = torch.linalg.eigh(covariance).eigenvectors
        return vectors[:, -dimensions:]
    width = len(covariance)
    some: dict[str, Any] = {"subset_by_index": [width - dimensions, width - 1]}
    _, leading = scipy.linalg.eigh(covariance.numpy(), **some)
    return torch.from_numpy(np.ascontiguousarray(leading))


def _blocks(rows: Rows, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
    """Block after block as fp32 on a GPU, the next ones of which are read meanwhile."""
    kind = torch.float16 if rows.dtype == np.float16 else torch.float32

    def read(where: slice) -> tuple[slice, Tensor]:
        block = torch.empty(rows[where].shape, dtype=kind, pin_memory=device.type == "cuda")
        block.numpy()[:] = rows[where]
        return where, block

    ahead: deque[Future[tuple[slice, Tensor]]] = deque()
    with ThreadPoolExecutor(GPU_READERS) as pool:
        for start in range(0, len(rows), BLOCK):
            ahead.append(pool.submit(read, slice(start, start + BLOCK)))
            if len(ahead) > GPU_READERS:
                where, block = ahead.popleft().result()
                yield where, block.to(device, non_blocking=True).float()
        for last in ahead:
            where, block = last.result()
            yield where, block.to(device, non_blocking=True).float()


def _rounding(
    covariance: Tensor, mean: Tensor, count: int, directions: Tensor, kind: np.dtype[Any]
) -> Tensor:
    """The variance that rounding can put into each of some `directions` (D, k), (k,) fp64.

    That of the values themselves, in the type that they come in, each by the size that its
    dimension has from mean and spread; and that of projecting them, in fp32. The first has the
    eigenvalues of noise (Marchenko, Pastur), as rounding in one dimension knows nothing of others.
    """
    variance = covariance.diagonal()
    edge = (1 + sqrt(len(variance) / count)) ** 2
    steps = PRECISION[kind] ** 2 * (variance + mean.square()) + TINY[kind] ** 2
    projected = PRECISION[np.dtype(np.float32)] ** 2 * variance.sum()
    return MARGIN * (edge * (steps @ directions.square()) + projected)

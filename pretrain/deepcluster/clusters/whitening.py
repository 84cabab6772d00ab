"""PCA-whitening of features that lie on disk, on any device, each process its rows.

The mean is taken out first and sums are in fp64: a covariance of sums of squares minus squares of
sums, in fp32, drowns where the mean is large against the spread. Two steps, the second of which
makes the answer exact: the covariance of all D dimensions gives the leading directions, and the
fp64 covariance of what is projected on them says how they are scaled, and how many there are.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slurm import distributed
from slurm.errors import UserError

BLOCK = 8192  # rows at a time
GPU_READERS = 4  # one thread reads a mapped file slower than a GPU takes it
PRECISION = 2.0**-23  # of fp32, which the features come in
MARGIN = 4.0  # over the variance that rounding alone can make

Rows = NDArray[np.float32]


def whiten(rows: Rows, dimensions: int, device: torch.device) -> Rows:
    """The leading principal components at unit variance: (n, D) float32 -> (n, dimensions).

    `rows` are this process's and may be a memory map; mean and covariance are over all processes'.
    The result has mean zero and covariance I, its first column the most variance.

    Raises:
        UserError: values that are not finite, or that vary in fewer directions than asked for, by
            more than their own rounding.
    """
    count, mean = _mean(rows, device)
    if not bool(torch.isfinite(mean).all()):
        raise UserError(
            "the network's features hold NaN or infinity: training has diverged; use a lower "
            "learning rate"
        )
    covariance = _covariance(rows, mean.float(), device) / count
    floor = _rounding(covariance, mean, count)
    leading = torch.linalg.eigh(covariance).eigenvectors[:, -dimensions:].float()
    projected = np.empty((len(rows), dimensions), np.float32)
    for where, block in _blocks(rows, device):
        projected[where] = ((block - mean.float()) @ leading).cpu().numpy()

    _, shift = _mean(projected, device)
    spread = distributed.total(
        sum(
            (
                _double(block, shift).T @ _double(block, shift)
                for _, block in _blocks(projected, device)
            ),
            torch.zeros(dimensions, dimensions, dtype=torch.float64, device=device),
        )
    )
    values, vectors = torch.linalg.eigh(spread / count)
    rank = int((values > floor).sum())
    if rank < dimensions:
        raise UserError(
            f"the features vary in {rank} directions, fewer than the {dimensions} of PCA: the "
            "images are too much alike, or the network has collapsed; begin anew with a --pca well "
            f"below {rank}, or with more images"
        )
    scaled = (vectors / values.sqrt()).flip(1)
    for where, block in _blocks(projected, device):
        projected[where] = (_double(block, shift) @ scaled).float().cpu().numpy()
    return projected


def _blocks(rows: Rows, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
    """Block after block on the device, the next ones of which are read meanwhile."""
    on_gpu = device.type == "cuda"
    readers = GPU_READERS if on_gpu else 1

    def read(where: slice) -> tuple[slice, Tensor]:
        block = torch.empty(rows[where].shape, pin_memory=on_gpu)
        block.numpy()[:] = rows[where]
        return where, block

    ahead: deque[Future[tuple[slice, Tensor]]] = deque()
    with ThreadPoolExecutor(readers) as pool:
        for start in range(0, len(rows), BLOCK):
            ahead.append(pool.submit(read, slice(start, start + BLOCK)))
            if len(ahead) > readers:
                where, block = ahead.popleft().result()
                yield where, block.to(device, non_blocking=True)
        for last in ahead:
            where, block = last.result()
            yield where, block.to(device, non_blocking=True)


def _double(block: Tensor, shift: Tensor) -> Tensor:
    return block.double() - shift


def _mean(rows: Rows, device: torch.device) -> tuple[int, Tensor]:
    """The number of rows and their mean (D,) fp64, over all processes."""
    sums = torch.zeros(rows.shape[1] + 1, dtype=torch.float64, device=device)
    for _, block in _blocks(rows, device):
        sums[:-1] += block.sum(0, dtype=torch.float64)
        sums[-1] += len(block)
    distributed.total(sums)
    return int(sums[-1]), sums[:-1] / sums[-1]


def _covariance(rows: Rows, mean: Tensor, device: torch.device) -> Tensor:
    """Sum of centred products (D, D) fp64, over all processes; each block's is made in fp32."""
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=device)
    for _, block in _blocks(rows, device):
        block -= mean
        if device.type == "cpu":  # NumPy makes x'x with half the work of a general product
            plain = block.numpy()
            total += torch.from_numpy(plain.T @ plain)
        else:
            total += block.T @ block
    return distributed.total(total)


def _rounding(covariance: Tensor, mean: Tensor, count: int) -> float:
    """The variance that rounding in fp32 can put into a direction in which nothing varies.

    That of the values themselves, whose squares are those of mean and spread, and that of
    projecting them; the first has the eigenvalues of noise (Marchenko, Pastur).
    """
    variance = covariance.diagonal()
    edge = (1 + sqrt(len(variance) / count)) ** 2
    values = (variance + mean.square()).max() * edge
    return MARGIN * PRECISION**2 * float(values + variance.sum())

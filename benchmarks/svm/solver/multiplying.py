"""Which of the machine's parts multiplies rows: its cores, or a GPU where that is sooner done.

All else of the SVMs runs on the cores: their systems are small, each step of one waits for the
last, and many of them are solved side by side. The products with all features are large, and a GPU
makes them in no time, but has to be started, and given the rows, first.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slurm.threads import share_of

if TYPE_CHECKING:
    import torch

Task = TypeVar("Task")
Result = TypeVar("Result")

STRIP = 256  # rows multiplied at a time on the cores
LONG_STRIP = 2048  # at most; long ones are multiplied a little faster
GPU_STRIP = 4096  # on a GPU

# Of the estimate; on the careful side, so that a GPU is only started where it surely pays.
CORE_RATE = 60e9  # fp32 operations a second that a core makes
GPU_RATE = 5e12  # that a GPU makes
GPU_LINK = 2e9  # bytes a second to and from it
GPU_START = 1.5  # seconds until it takes its first work

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's, and Windows' for its Linux


@dataclass
class Multiplier:
    """Makes the products of one layer's rows; `device` is auto, cpu or cuda, as users name it."""

    device: str
    used_gpu: bool = False

    def gpu(self, left: int, right: int, width: int, share: float = 1.0) -> "torch.device | None":
        """The GPU, if it should multiply (left, width) with (right, width) rows.

        `share` is the part of the product that cores would have to make. `UserError` for cuda on a
        machine without one.
        """
        if self.device == "cpu":
            return None
        if self.device == "auto" and not (_may_be_there() and _pays(left, right, width, share)):
            return None
        from benchmarks.devices import resolve_device

        found = resolve_device(self.device)
        if found.type == "cpu" or (self.device == "auto" and not _fits(left, right, width)):
            return None
        self.used_gpu = True
        return found

    def products(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """left right', (N, M) of (N, D) and (M, D), in their type."""
        found = np.empty((len(left), len(right)), left.dtype)
        gpu = self.gpu(len(left), len(right), left.shape[1])
        if gpu is not None:
            with _on(gpu, right) as multiply:
                for start in range(0, len(left), GPU_STRIP):
                    strip = slice(start, start + GPU_STRIP)
                    found[strip] = multiply(left[strip], 0)
            return found

        def multiply_strip(strip: slice) -> None:
            np.matmul(left[strip], right.T, out=found[strip])

        # Two for each thread, so that none waits long for another at the end.
        step = max(STRIP, min(LONG_STRIP, -(-len(left) // (2 * threads_here()))))
        with in_threads() as each:
            list(each(multiply_strip, len(left), step))
        return found


def threads_here() -> int:
    """How many threads, or processes of one thread each, an SVM keeps busy."""
    return share_of(1, os.environ)


def times(left: NDArray[Any], right: NDArray[Any], threads: int | None = None) -> NDArray[Any]:
    """left right, (m, N) of a few rows (m, K) and a large matrix (K, N), in their type.

    By so many threads (None: all). Call it within `one_thread_each`.
    """
    found = np.empty((len(left), right.shape[1]), left.dtype)

    def multiply(strip: slice) -> None:
        np.matmul(left, right[:, strip], out=found[:, strip])

    by_strips(multiply, right.shape[1], threads)
    return found


def by_strips(work: Callable[[slice], None], count: int, threads: int | None = None) -> None:
    """Share `count` columns among so many threads (None: all), a strip for each."""
    threads = threads or threads_here()
    if threads == 1:
        work(slice(0, count))
        return
    width = -(-count // (16 * threads)) * 16
    strips = [slice(start, start + width) for start in range(0, count, width)]
    list(_pool(threads_here()).map(work, strips))


def in_turn(work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """Yield `work(task)` for all tasks in their order, made by the threads of `times`.

    Where they multiply, call it within `one_thread_each`.
    """
    return _pool(threads_here()).map(work, tasks)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within the block NumPy and SciPy make a product with the thread that asks for it.

    Their own threads would keep spinning for a while, beside those of torch.
    """
    from threadpoolctl import ThreadpoolController

    with ThreadpoolController().select(internal_api="openblas").limit(limits=1):
        yield


def fill_gram(
    gram: NDArray[Any], strip: slice, multiply: Callable[[slice, int], NDArray[Any]]
) -> None:
    """Set a strip of rows of a symmetric matrix and the columns that mirror it.

    `multiply(strip, start)` are the products of its rows with those from `start` on.
    """
    start, stop = strip.start, min(strip.stop, len(gram))
    product = multiply(strip, start)
    gram[strip, start:] = product
    gram[stop:, strip] = product[:, stop - start :].T
    square = gram[strip, strip]
    square[:] = (square + square.T) / 2


def gram_on_gpu(gpu: "torch.device", rows: NDArray[Any], gram: NDArray[Any]) -> None:
    """Fill `gram` (N, N) with the products of rows (N, D) with one another."""
    with _on(gpu, rows) as multiply:
        for start in range(0, len(rows), GPU_STRIP):
            strip = slice(start, start + GPU_STRIP)
            fill_gram(gram, strip, lambda strip, start: multiply(rows[strip], start))


@contextmanager
def _on(
    gpu: "torch.device", rows: NDArray[Any]
) -> Iterator[Callable[[NDArray[Any], int], NDArray[Any]]]:
    """Hold rows on a GPU; multiplies others with those from an index on, never in TF32."""
    import torch

    kept = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    there = torch.from_numpy(rows).to(gpu)

    def multiply(others: NDArray[Any], start: int) -> NDArray[Any]:
        product: NDArray[Any] = (torch.from_numpy(others).to(gpu) @ there[start:].T).cpu().numpy()
        return product

    try:
        yield multiply
    finally:
        torch.backends.cuda.matmul.allow_tf32 = kept


def _may_be_there() -> bool:
    """Whether the drivers of a GPU are loaded: asking torch would take its import, two seconds."""
    return sys.platform != "linux" or any(map(os.path.exists, DRIVERS))


def _pays(left: int, right: int, width: int, share: float) -> bool:
    torch = sys.modules.get("torch")
    started = torch is not None and torch.cuda.is_initialized()
    work = 2.0 * left * right * width
    moved = 4.0 * ((left + right) * width + left * right)
    on_gpu = work / GPU_RATE + moved / GPU_LINK + (0 if started else GPU_START)
    return on_gpu < share * work / (CORE_RATE * threads_here())


def _fits(left: int, right: int, width: int) -> bool:
    """Whether the GPU has room for the rows that it holds and the strip it works on, twice."""
    import torch

    free, _ = torch.cuda.mem_get_info()
    return 2 * 8 * (right * width + GPU_STRIP * (width + right)) < free


@contextmanager
def in_threads() -> Iterator[Callable[[Callable[[slice], Any], int, int], Iterator[Any]]]:
    """Work on strips of rows in threads, each of which multiplies with one thread.

    The threads of NumPy's own products would keep spinning for a while, beside those of torch.
    """
    from threadpoolctl import threadpool_limits

    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(threads_here()) as pool,
    ):
        try:
            yield lambda work, count, step: pool.map(
                work, [slice(start, start + step) for start in range(0, count, step)]
            )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

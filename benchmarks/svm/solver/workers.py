"""Many small pieces of work in forked processes, which read their parent's memory where it lies."""

import ctypes
import math
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Task = TypeVar("Task")
Result = TypeVar("Result")

END_TASK = signal.SIGUSR1  # ends a worker that is within a task, and no other
PATIENCE = 1.0  # seconds that a stop leaves to the tasks that have begun

_work: Callable[[Any], Any] | None = None  # set just before the fork, so that it is not pickled


@contextmanager
def workers(
    work: Callable[[Task], Result], processes: int
) -> Iterator[Callable[[Sequence[Task]], Iterator[Result]]]:
    """A map of `work` over tasks, in their order; only tasks and results are pickled.

    `work` sees the memory as it was on entry. Every process computes with one thread; with one
    process all is done here. An exception in the body, as a stop is, waits for the tasks that have
    begun, but for no longer than `PATIENCE`.
    """
    global _work
    if processes <= 1:
        yield partial(map, work)
        return
    _work = work
    try:
        with ProcessPoolExecutor(processes, get_context("fork"), _begin, (os.getpid(),)) as pool:
            try:
                yield partial(pool.map, _run)
            except BaseException:
                _stop(pool)
                raise
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process was killed, probably for lack of memory: give the task more, or "
            "fewer --threads"
        ) from None
    finally:
        _work = None


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the work that has begun, which may be minutes within liblinear."""
    processes = list(pool._processes.values())
    pool.shutdown(wait=False, cancel_futures=True)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and any(one.is_alive() for one in processes):
        time.sleep(0.01)
    # It ends those within a task, upon which the pool ends the others; one that is writing its
    # result, for the rest of which the pool would wait for ever, ignores it.
    for one in processes:
        if one.is_alive() and one.pid is not None:
            os.kill(one.pid, END_TASK)


def shared_array(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array of zeros that workers and their parent write to and read alike."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), dtype, math.prod(shape)).reshape(shape)


def each(work: Callable[[Task], Result], tasks: Sequence[Task], processes: int) -> Iterator[Result]:
    """Yield `work(task)` for all tasks in their order, with no more processes than tasks."""
    with workers(work, min(processes, len(tasks))) as run:
        yield from run(tasks)


def _begin(parent: int) -> None:
    """Leave stops to the parent, which may end a task, end with it, and use one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(END_TASK, signal.SIG_IGN)
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        set_parent_death_signal = partial(library.prctl, 1)  # PR_SET_PDEATHSIG
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)
        if hasattr(library, "mallopt"):
            # Blocks of some MB come and go: keep their memory rather than have it zeroed anew.
            library.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            library.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def _run(task: Any) -> Any:
    assert _work is not None
    signal.signal(END_TASK, signal.SIG_DFL)
    try:
        return _work(task)
    finally:
        signal.signal(END_TASK, signal.SIG_IGN)

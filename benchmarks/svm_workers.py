"""Many small pieces of work in forked processes, which read their parent's memory where it lies."""

import ctypes
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_work: Callable[[Any], Any] | None = None  # set just before the fork, so that it is not pickled


def each(work: Callable[[Task], Result], tasks: Sequence[Task], processes: int) -> Iterator[Result]:
    """Yield `work(task)` for all tasks in their order; only tasks and results are pickled.

    Every process computes with one thread; with one process, or one task, all is done here.
    """
    global _work
    processes = min(processes, len(tasks))
    if processes <= 1:
        yield from map(work, tasks)
        return
    _work = work
    try:
        with ProcessPoolExecutor(processes, get_context("fork"), _begin) as pool:
            yield from pool.map(_run, tasks)
    finally:
        _work = None


def _begin() -> None:
    """Leave stops to the parent, end with it, and use one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        set_parent_death_signal = partial(ctypes.CDLL(None).prctl, 1)  # PR_SET_PDEATHSIG
        set_parent_death_signal(signal.SIGKILL)
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _run(task: Any) -> Any:
    assert _work is not None
    return _work(task)

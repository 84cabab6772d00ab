"""What a task does shortly before its time limit, though its item has not stopped until then.

SLURM's warning asks an item to save and stop after its step. Some steps take longer than is left.
"""

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slurm.tasks.requeueing import seconds_left

MARGIN = 20.0  # seconds before the limit
PAUSE = 5.0  # seconds until SLURM is asked again, where it gives no answer


@contextmanager
def before_the_limit(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` in another thread if SLURM's warning comes and the block does not end in time.

    Main thread only. The signal is heard of while that is in a long call, as of a library for
    linear algebra, in which no handler of Python runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    ended = threading.Event()
    thread = threading.Thread(target=_wait, args=(reading, ended, act), daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        ended.set()
        os.write(writing, b"\0")  # no number of a signal; data loaders may keep the pipe open
        thread.join()
        os.close(reading)
        os.close(writing)


def _wait(pipe: int, ended: threading.Event, act: Callable[[], None]) -> None:
    heard = b""
    while signal.SIGUSR2 not in heard:
        heard = os.read(pipe, 512)
        if 0 in heard:
            return
    while not ended.is_set():
        left = seconds_left()
        if left is None:
            ended.wait(PAUSE)
        elif left == math.inf:
            return
        elif left <= MARGIN:
            act()
            return
        else:
            ended.wait(max(0.5, (left - MARGIN) / 2))

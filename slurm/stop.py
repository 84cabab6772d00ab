"""A polite stop: a scheduler's warning signal becomes a question that long items ask.

SLURM sends SIGUSR2 before a time limit (submitit's default signal) and SIGTERM on preemption. A
long item calls `stop_requested()` after each step, saves its state when the answer is yes, and
raises `Stopped`; whoever started it runs it again later, and it continues from what it saved.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGUSR2, signal.SIGTERM)

_received: list[int] = []
_depth = 0
_owner = 0  # the process that asked; forked children inherit the handlers


class Stopped(Exception):
    """The item saved its progress and stopped because it was asked to; run it again."""


class Terminated(BaseException):
    """A signal to end arrived while nothing could be saved; raised so that files are tidied up."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.signal = signal.Signals(number)


def stop_requested() -> bool:
    """Whether one of `SIGNALS` arrived inside `polite_stop`."""
    return bool(_received)


def received() -> tuple[int, ...]:
    """The signals that arrived inside `polite_stop`, in order."""
    return tuple(_received)


@contextmanager
def polite_stop() -> Iterator[None]:
    """Turn `SIGNALS` into `stop_requested()` within the block; main thread only.

    Blocks nest: a request that reaches an outer block stands in the inner one too.
    """
    global _depth, _owner
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _depth == 0:
        _received.clear()
        _owner = os.getpid()
    before = {number: signal.signal(number, _request) for number in SIGNALS}
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM within the block; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(128 + number)  # a forked child, such as a data loader, just ends
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _request(number: int, frame: FrameType | None) -> None:
    if os.getpid() == _owner:
        _received.append(number)
    elif number == signal.SIGTERM:
        os._exit(128 + number)  # a forked child, such as a data loader, just ends

"""Progress with an ETA on stderr: a bar on a terminal, a line now and then in a log; a clock."""

import datetime
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


def progress(
    iterable: Iterable[object] | None = None,
    *,
    desc: str,
    total: int | None = None,
    unit: str = "it",
    initial: int = 0,
    disable: bool = False,
) -> "tqdm":
    """A tqdm bar that is quiet in log files (one line each 15 s) and live on a terminal."""
    from tqdm import tqdm  # here, as it costs a tenth of the time that --help may take

    live = sys.stderr.isatty()
    return tqdm(
        iterable,
        desc=desc,
        total=total,
        unit=unit,
        initial=initial,
        disable=disable,
        file=sys.stderr,
        mininterval=0.2 if live else 15.0,
        maxinterval=10.0 if live else 60.0,
        dynamic_ncols=live,
        leave=live,
    )


def clock(seconds: float) -> str:
    """Seconds as people say them: `8.4 s`, `3 min 20 s`, `5 h 02 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def time_line(seconds: float, done: int, total: int) -> str:
    """How long `done` of `total` equal parts took, and how long the rest will take at that pace."""
    left = seconds / done * (total - done)
    return f"{clock(seconds)} so far, {clock(left)} left" if left else f"{clock(seconds)} in all"


def position(epoch: int, epochs: int, step: int) -> str:
    """Where a run stands after `epoch` whole epochs and `step` steps of the next, from 1."""
    if epoch >= epochs:
        return f"the end of epoch {epochs}/{epochs}"
    steps = f"after {step} step{'s' * (step != 1)}" if step else "at its start"
    return f"epoch {epoch + 1}/{epochs}, {steps}"


def say(message: str) -> None:
    """One plain line on stderr that does not tear a running bar."""
    from tqdm import tqdm

    tqdm.write(message, file=sys.stderr)


class Clock:
    """Start time and duration of a run."""

    def __init__(self) -> None:
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

"""Progress with an ETA on stderr: a bar on a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(
    iterable: Iterable[object] | None = None,
    *,
    desc: str,
    total: int | None = None,
    unit: str = "it",
    initial: int = 0,
    disable: bool = False,
) -> tqdm:
    """A tqdm bar that is quiet in log files (one line each 15 s) and live on a terminal."""
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


def say(message: str) -> None:
    """One plain line on stderr that does not tear a running bar."""
    tqdm.write(message, file=sys.stderr)

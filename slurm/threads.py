"""CPU threads of a process: set in its environment, before numpy or torch are imported."""

import os
from collections.abc import Mapping

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_variables(threads: int) -> dict[str, str]:
    """The environment that makes a process compute with `threads` threads."""
    return dict.fromkeys(VARIABLES, str(threads))


def share_of(jobs: int, environ: Mapping[str, str]) -> int:
    """Threads of each of `jobs` processes: OMP_NUM_THREADS if the user set it, else a share."""
    given = environ.get("OMP_NUM_THREADS", "")
    # A number as OpenMP would read it; anything else is as good as unset.
    if given.isascii() and given.isdecimal() and int(given[:9]) > 0 and len(given) < 6:
        return int(given)
    return max(1, cores() // jobs)

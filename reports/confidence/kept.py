"""Bootstrap samples that were computed before, by the fingerprint of the outcomes they are of.

`ZOO/intervals` is a cache: it can be deleted, and a zoo that cannot be written has none.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.results import Record, key_of
from reports.confidence.resampling import Floats
from slurm.errors import UserError
from slurm.files import read_regular, write_bytes

_VERSION = 1  # of how samples are made


def kept_path(zoo: Path, record: Record, values: Mapping[str, float], what: str = "") -> Path:
    """Where the samples of a record's figures lie, whose values were held against its outcomes.

    `what` names other numbers that are made of the same outcomes.
    """
    more = (what,) if what else ()
    return zoo / "intervals" / f"{key_of(record.outcomes, values, _VERSION, *more)}.safetensors"


def read_kept(path: Path, samples: int) -> dict[str, Floats]:
    """The samples by figure, in the last axis.

    None for what is not there, is damaged or is of another number.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = load(read_regular(path))
    except (OSError, SafetensorError):
        return {}
    whole = all(one.shape[-1:] == (samples,) and one.dtype == np.float64 for one in found.values())
    return dict(found) if whole else {}


def kept_names(path: Path) -> set[str]:
    """The figures that have samples there, by the head of the file alone; none if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as found:
            return set(found.keys())
    except (OSError, SafetensorError):
        return set()


def write_kept(path: Path, found: Mapping[str, Floats]) -> None:
    """Keep the samples, where the zoo can be written."""
    from safetensors.numpy import save

    try:
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, save(dict(found)))
    except (OSError, UserError):
        return

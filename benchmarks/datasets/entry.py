"""What the harness knows of a dataset before it is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.datasets.splits import Dataset


class Size(NamedTuple):
    """How large a split officially is."""

    images: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """One dataset; every field must be said, so that none is forgotten."""

    name: str  # in protocols, and in the names of what is kept of it
    title: str  # as model cards call it
    folder: str  # where a suite finds it below --data (MMSelfSup's layout)
    load: Callable[[Path], Dataset]
    sizes: Mapping[str, Size]  # by split; what is smaller or larger is not the real data

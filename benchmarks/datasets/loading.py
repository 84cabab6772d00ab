"""A dataset by name and folder, read once a process; light until then."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Split

if TYPE_CHECKING:
    from benchmarks.datasets.splits import Dataset


@lru_cache(maxsize=16)
def load_dataset(name: str, folder: Path) -> "Dataset":
    """Read a dataset's lists once per process."""
    from benchmarks.datasets.catalog import DATASETS

    return DATASETS[name](folder)


@lru_cache(maxsize=16)
def fingerprints(name: str, folder: Path) -> dict[str, Split]:
    """The fingerprint of each split of a dataset, computed once per process."""
    splits = load_dataset(name, folder).splits
    return {split: images.fingerprint() for split, images in splits.items()}

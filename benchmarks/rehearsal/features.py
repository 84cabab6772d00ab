"""Features for a rehearsal of what reads cached ones: those on disk, or some images' repeated."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.arrays import open_array
from benchmarks.features.cache import AvgpoolCache, check_rows
from benchmarks.features.files import fingerprint

Rows = NDArray[np.floating[Any]]

NOISE = 0.3  # of each dimension's standard deviation
READ = 8192  # rows by which it is found how long reading takes


class Source:
    """Rows of both splits of `cache`, of their type; without a `sample` those on disk."""

    def __init__(self, cache: AvgpoolCache, sample: Rows | None) -> None:
        self.images = {name: one.images for name, one in zip(("train", "val"), cache.splits)}
        self._cache, self._sample = cache, sample
        self.origin = "the features on disk"
        if sample is not None:
            self.origin = "features of some images, repeated"

    def rows(self, split: str, count: int) -> Rows:
        """The first `count` (n, D)."""
        count = min(count, self.images[split])
        if self._sample is None:
            return np.array(open_array(self._cache.directory / f"{split}.npy")[:count])
        return repeated(self._sample, count, seed=len(split))

    def reading_seconds(self, folder: Path) -> float:
        """How long it takes to read both splits and to look at each value; by a file in `folder`.

        It is in the machine's memory, and so may the real ones be, or not.
        """
        block, path = self.rows("train", READ), folder / "rows.npy"
        np.save(path, block)
        try:
            began = time.perf_counter()
            fingerprint(path)
            check_rows(open_array(path), len(block), path)
            seconds = time.perf_counter() - began
        finally:
            path.unlink()
        return seconds * sum(self.images.values()) / len(block)


def repeated(known: NDArray[Any], rows: int, seed: int) -> NDArray[Any]:
    """(rows, D) of the type of `known` (n, D), which is repeated with noise."""
    draws = np.random.default_rng(seed)
    filled = known[np.arange(rows) % len(known)].astype(np.float32)
    filled += (
        NOISE
        * known.std(0, dtype=np.float32)
        * draws.standard_normal(filled.shape, dtype=np.float32)
    )
    return filled.astype(known.dtype)

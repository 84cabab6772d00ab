"""Top-1 and top-5 in every bootstrap sample, for all rows at once."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from reports.confidence.resampling import Counts

Floats = NDArray[np.float64]
MOST_IMAGES = 2**24  # whole numbers up to here are exact in fp32, whatever the order of a sum


def resampled_accuracies(hits: NDArray[np.bool_], blocks: Iterable[Counts]) -> Floats:
    """The accuracy in percent of R rows in every sample, float64 (R, samples).

    `hits` is (R, images): whether the true class was among the k best. `ValueError` for more
    images than can be counted exactly.
    """
    images = hits.shape[1]
    if images > MOST_IMAGES:
        raise ValueError(f"{images:,} images; {MOST_IMAGES:,} can be counted exactly")
    rows = hits.astype(np.float32)
    found = [rows @ counts.astype(np.float32) for counts in blocks]
    percent: Floats = 100.0 * np.concatenate(found, axis=1).astype(np.float64) / images
    return percent

"""Top-1 and top-5 in every bootstrap sample."""

import numpy as np
from numpy.typing import NDArray

from reports.confidence.resampling import Counts, Floats

MOST_IMAGES = 2**24  # whole numbers up to here are exact in fp32, whatever the order of a sum


def resampled_accuracies(hits: NDArray[np.bool_], counts: Counts) -> Floats:
    """The accuracy in percent in each column of `counts` (images, b), float64 (b,).

    `hits` is (images,): whether the true class was among the k best. `ValueError` for more images
    than can be counted exactly.
    """
    images = len(hits)
    if images > MOST_IMAGES:
        raise ValueError(f"{images:,} images; {MOST_IMAGES:,} can be counted exactly")
    correct = hits.astype(np.float32) @ counts.astype(np.float32)
    percent: Floats = 100.0 * correct.astype(np.float64) / images
    return percent

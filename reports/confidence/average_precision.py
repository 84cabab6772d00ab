"""The AP of every class in every bootstrap sample, without sorting again.

An image that is drawn m times stands m times in a row, so the order of the whole test set is that
of every sample. Within the copies of a positive the precision does not fall, and the precision
envelope can only step at a positive: counting up to each positive is enough.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reports.confidence.resampling import Counts, Floats


class RankedClass:
    """One class of a test set, sorted once: (images,) scores and labels 1, 0, or -1 to ignore."""

    def __init__(self, scores: NDArray[np.floating], labels: NDArray[np.int8]) -> None:
        from scipy.sparse import csr_array  # half a second, which --help does not have

        if scores.shape != labels.shape:
            raise ValueError(f"scores {scores.shape} for labels {labels.shape}")
        order = np.argsort(-scores, kind="stable")  # ties keep their order
        order = order[labels[order] != -1]
        ends = np.flatnonzero(labels[order] == 1) + 1
        if len(ends) == 0:
            raise ValueError("average precision needs at least one positive")
        self.positives = order[ends - 1]
        # Sums of rows up to each positive from the one before it; the counts of a sample add up to
        # the number of images, so that the narrowest type holds them. What ranks below all
        # positives counts for nothing.
        width = np.uint16 if len(labels) < 2**16 else np.int32
        self.up_to = csr_array(
            (np.ones(ends[-1], width), order[: ends[-1]], np.concatenate([[0], ends])),
            shape=(len(ends), len(labels)),
        )

    def average_precisions(self, counts: Counts) -> Floats:
        """Envelope AP in 0..1 of each column of `counts` (images, b); float64 (b,).

        NaN where a sample has no positive of this class.
        """
        copies = counts[self.positives]
        drawn = self.up_to @ counts
        true = copies.copy()
        # Row by row, which is twice as fast as NumPy's accumulate over the first axis; in whole
        # numbers of the narrowest type, which is four times as fast as in float64.
        for row in range(1, len(true)):
            np.add(true[row], true[row - 1], out=true[row])
            np.add(drawn[row], drawn[row - 1], out=drawn[row])
        positives = true[-1].astype(np.float64)
        np.maximum(drawn, 1, out=drawn)  # before the first draw there is no precision: 0
        envelope = np.divide(true, drawn, dtype=np.float64)
        for row in range(len(true) - 2, -1, -1):
            np.maximum(envelope[row], envelope[row + 1], out=envelope[row])
        with np.errstate(invalid="ignore"):
            found: Floats = np.einsum("pb,pb->b", copies, envelope) / positives
        return found


def ranked_classes(scores: NDArray[np.floating], labels: NDArray[np.int8]) -> list[RankedClass]:
    """The columns of `scores` and `labels` (images, classes)."""
    return [RankedClass(scores[:, k], labels[:, k]) for k in range(scores.shape[1])]


def resampled_maps(classes: Sequence[RankedClass], counts: Counts) -> Floats:
    """The mAP in percent of each column of `counts` (images, b).

    A class without a positive in a sample is left out of that sample's mean.
    """
    ap = np.stack([one.average_precisions(counts) for one in classes])
    found: Floats = 100 * np.nanmean(ap, axis=0)
    return found

"""The AP of every class in every bootstrap sample, without sorting again.

An image that is drawn m times stands m times in a row, so the order of the whole test set is that
of every sample. Within the copies of a positive the precision does not fall, and the precision
envelope can only step at a positive: counting up to each positive is enough.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reports.confidence.resampling import Counts, Floats


class RankedClasses:
    """The classes of a test set, each sorted once.

    The n-th positives of all classes stand side by side, so that a step of the cumulative sums
    is taken by all classes at once: `_steps[n]` to `_steps[n + 1]` are those of the classes that
    have so many, which come first, as the classes are ordered by their positives, most first.
    """

    def __init__(self, scores: NDArray[np.floating], labels: NDArray[np.int8]) -> None:
        """Of `scores` and `labels` (images, classes); labels are 1, 0, or -1 to ignore."""
        from scipy.sparse import csr_array  # half a second, which --help does not have

        if scores.shape != labels.shape or scores.ndim != 2:
            raise ValueError(f"scores {scores.shape} for labels {labels.shape}")
        if not (labels == 1).any(0).all():
            raise ValueError("average precision needs at least one positive of each class")
        images, self.classes = scores.shape
        most_first = np.argsort(-(labels == 1).sum(0), kind="stable")
        runs = [_runs(scores[:, at], labels[:, at]) for at in most_first]
        lengths = np.array([len(one) for one in runs])
        shares = [int((lengths > step).sum()) for step in range(lengths.max())]
        self._steps = np.concatenate([[0], np.cumsum(shares)]).tolist()
        side_by_side = [runs[at][step] for step, share in enumerate(shares) for at in range(share)]
        self._positives = np.array([run[-1] for run in side_by_side])
        self._place = np.argsort(most_first)  # of each class in that order
        starts = np.array(self._steps)[lengths - 1]
        self._last = starts + np.arange(self.classes)  # where each class's last positive stands
        # Sums of the counts of each run; a sample's add up to the number of images, so that the
        # narrowest type holds them. What ranks below all positives counts for nothing.
        width = np.uint16 if images < 2**16 else np.int32
        ends = np.cumsum([0, *map(len, side_by_side)])
        members = np.concatenate(side_by_side)
        self._runs = csr_array(
            (np.ones(len(members), width), members, ends), shape=(len(side_by_side), images)
        )

    def average_precisions(self, counts: Counts) -> Floats:
        """Envelope AP in 0..1 of each column of `counts` (images, b); float64 (classes, b).

        NaN where a sample has no positive of a class.
        """
        drawn = self._runs @ counts  # and, after the sums, all that ranks up to each positive
        true = counts[self._positives]
        places = [slice(*ends) for ends in pairwise(self._steps)]
        for before, here in pairwise(places):
            share = here.stop - here.start
            true[here] += true[before][:share]
            drawn[here] += drawn[before][:share]
        area, envelope = np.zeros((2, self.classes, counts.shape[1]))
        for here in reversed(places):
            best, of = envelope[: here.stop - here.start], area[: here.stop - here.start]
            # Before the first draw there is no precision: 0.
            np.maximum(best, true[here] / np.maximum(drawn[here], 1), out=best)
            of += best * counts[self._positives[here]]
        with np.errstate(invalid="ignore"):
            found: Floats = (area / true[self._last])[self._place]
        return found


def _runs(scores: NDArray[np.floating], labels: NDArray[np.int8]) -> list[NDArray[np.intp]]:
    """The images of one class from best to worst, cut behind each positive."""
    order = np.argsort(-scores, kind="stable")  # ties keep their order
    order = order[labels[order] != -1]
    return np.split(order, np.flatnonzero(labels[order] == 1) + 1)[:-1]


def resampled_maps(classes: RankedClasses, counts: Counts) -> Floats:
    """The mAP in percent of each column of `counts` (images, b).

    A class without a positive in a sample is left out of that sample's mean.
    """
    found: Floats = 100 * np.nanmean(classes.average_precisions(counts), axis=0)
    return found

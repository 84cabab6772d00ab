"""Average precision, in both definitions that the VOC07 protocol uses, and top-k accuracy.

Cross-validation scores by scikit-learn's step-wise AP; the reported AP is the area under the
precision envelope at all recall points (VOC2010 and later), not VOC07's 11 points.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]


def step_average_precision(scores: NDArray[Any], positive: NDArray[np.bool_]) -> Floats:
    """Step-wise AP in 0..1, as `sklearn.metrics.average_precision_score`.

    `scores` is (..., N), `positive` (N,); returns float64 of shape (...). Rows of equal score form
    one threshold, so the order of tied rows does not matter.
    """
    rows, shape = _rows(scores, positive)
    found = np.empty(len(rows))
    for i, row in enumerate(rows):
        hits = np.sort(row[positive])
        misses = np.sort(row[~positive])
        # The threshold at a positive takes in everything that scores as high.
        true = len(hits) - np.searchsorted(hits, hits, side="left")
        false = len(misses) - np.searchsorted(misses, hits, side="left")
        found[i] = np.mean(true / (true + false))
    return found.reshape(shape)


def step_doubt(scores: NDArray[Any], positive: NDArray[np.bool_], error: Floats) -> Floats:
    """By how much step-wise AP, in 0..1, may be wrong at most if scores are off by up to `error`.

    `scores` is (..., N), `error` (...), and `positive` (N,); returns float64 of shape (...). The
    j-th best positive of other scores is off by no more than the j-th of these, so that only those
    negatives can change sides with it that lie within twice the error. Scores that are equal are
    of equal images, and stay equal.
    """
    rows, shape = _rows(scores, positive)
    found = np.empty(len(rows))
    for i, (row, off) in enumerate(zip(rows, np.ravel(error))):
        hits = np.sort(row[positive])
        misses = np.sort(row[~positive])
        true = len(hits) - np.searchsorted(hits, hits, side="left")
        tied = np.searchsorted(misses, hits, side="right") - np.searchsorted(misses, hits)
        least = tied + len(misses) - np.searchsorted(misses, hits + 2 * off, side="right")
        most = len(misses) - np.searchsorted(misses, hits - 2 * off, side="left")
        found[i] = np.mean(true / (true + least) - true / (true + most))
    return found.reshape(shape)


def envelope_average_precision(scores: NDArray[Any], positive: NDArray[np.bool_]) -> Floats:
    """Area under the precision envelope at all recall points, in 0..1.

    `scores` is (..., N), `positive` (N,); returns float64 of shape (...). Rows are ranked by
    descending score; ties keep their order, so the earlier image comes first.
    """
    rows, shape = _rows(scores, positive)
    count = int(positive.sum())
    true = np.arange(1, count + 1)
    found = np.empty(len(rows))
    for i, row in enumerate(rows):
        ranks = true + _negatives_above(row, positive)
        envelope = np.maximum.accumulate((true / ranks)[::-1])
        found[i] = np.mean(envelope)
    return found.reshape(shape)


def _negatives_above(row: NDArray[Any], positive: NDArray[np.bool_]) -> NDArray[Any]:
    """For each positive by rank, how many negatives rank before it; ties by position."""
    hits = np.sort(row[positive])
    misses = np.sort(row[~positive])
    higher = len(misses) - np.searchsorted(misses, hits, side="right")
    as_high = len(misses) - np.searchsorted(misses, hits, side="left")
    if np.array_equal(higher, as_high):
        return higher[::-1]
    hit = positive[np.argsort(-row, kind="stable")]
    above: NDArray[np.int64] = np.cumsum(~hit)
    return above[hit]


def ranked(scores: NDArray[Any]) -> NDArray[np.intp]:
    """The places of (..., N) scores from the highest on; of equal ones the earlier comes first."""
    rows = scores.reshape(-1, scores.shape[-1])
    found = np.empty(rows.shape, np.intp)
    for row, order in zip(rows, found):
        order[:] = _ranked(row)
    return found.reshape(scores.shape)


def _ranked(row: NDArray[Any]) -> NDArray[np.int64]:
    """By sorting numbers that hold both a score and its place, much faster than an argsort.

    How far a score lies below the highest is not negative, so that its bits, read as a whole
    number, rise with it; the lowest of them give way to the place.
    """
    if not len(row):
        return np.arange(0)
    best = row.max() + 0.0  # not -0, less which 0 would have a sign
    keys: NDArray[np.int64] = np.subtract(best, row, dtype=np.float64).view(np.int64)
    places = (1 << (len(row) - 1).bit_length()) - 1
    keys &= ~places
    keys |= np.arange(len(row))
    keys.sort()
    keys &= places
    in_order = row[keys]
    if not (in_order[1:] <= in_order[:-1]).all():
        # Some differ in the bits that gave way alone, or are not finite.
        keys = np.argsort(-row, kind="stable")
    return keys


def _rows(
    scores: NDArray[Any], positive: NDArray[np.bool_]
) -> tuple[NDArray[Any], tuple[int, ...]]:
    if positive.dtype != np.bool_ or positive.shape != scores.shape[-1:]:
        raise ValueError(f"labels {positive.dtype} {positive.shape} for scores {scores.shape}")
    if not positive.any():
        raise ValueError("average precision needs at least one positive")
    if not np.isfinite(scores).all():
        raise ValueError("scores are not finite")
    return scores.reshape(-1, scores.shape[-1]), scores.shape[:-1]


def topk_correct(logits: "Tensor", labels: "Tensor", ks: Sequence[int]) -> "Tensor":
    """How many rows have their label among the k highest logits, for each k.

    `logits` is (N, C), `labels` (N,) class indices; returns int64 (len(ks),) on the same device.
    A k above C counts every row.
    """
    import torch

    width = min(max(ks), logits.shape[1])
    best = logits.topk(width, dim=1).indices
    hit = best == labels[:, None]
    return torch.stack([hit[:, :k].sum() for k in ks])


def true_ranks(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """How many classes stand before the true one, int64 (N,), for logits (N, C); 0 is right.

    Of equal logits the class of the lower index comes first. A row with a NaN is wrong at every k:
    its rank is `wrong_rank`.
    """
    import torch

    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    found = ((logits > own) | ((logits == own) & before)).sum(1)
    return torch.where(logits.isnan().any(1), wrong_rank(logits.shape[1]), found)


def wrong_rank(classes: int) -> int:
    """The rank of a true class that was not predicted at all: beyond the top 5 of few classes."""
    return max(classes, 5)

"""Scores made small without changing an order: what an average precision is made of."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics import ranked


def narrow(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """`scores` (..., N) in fp32, in the same order: what differs in fp64 differs in fp32 too.

    A value that would meet its neighbour goes to the next one above it. `ValueError` for values
    that are not finite in fp32.
    """
    rows = scores.reshape(-1, scores.shape[-1])
    with np.errstate(over="ignore"):
        found = rows.astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueError("scores are not finite in fp32")
    for row, exact in zip(found, rows):
        order = np.argsort(exact, kind="stable")
        _part(row, order, np.diff(exact[order]) > 0)
    return found.reshape(scores.shape)


def _part(row: NDArray[np.float32], order: NDArray[np.intp], differs: NDArray[np.bool_]) -> None:
    """Move up, in place, what does not differ although it should; and its equals with it."""
    ranked = row[order]
    for at in np.flatnonzero(differs & (np.diff(ranked) <= 0)).tolist():
        for place in range(at + 1, len(ranked)):
            below = ranked[place - 1]
            above = np.maximum(ranked[place], np.nextafter(below, np.float32(np.inf)))
            value = above if differs[place - 1] else below
            if value == ranked[place]:
                break
            ranked[place] = value
    row[order] = ranked


def ranks(scores: NDArray[Any]) -> NDArray[np.uint16] | NDArray[np.int32]:
    """The place of each of (..., N) scores from the highest, 0, on; ties keep their order."""
    return ranks_of(ranked(scores))


def ranks_of(order: NDArray[np.intp]) -> NDArray[np.uint16] | NDArray[np.int32]:
    """The same, of the rows from the highest score on; see `metrics.ranked`."""
    count = order.shape[-1]
    found: NDArray[Any] = np.empty(order.shape, dtype=rank_type(count))
    places = np.arange(count, dtype=found.dtype)
    for row, rows in zip(found.reshape(-1, count), order.reshape(-1, count)):
        row[rows] = places
    return found


def rank_type(count: int) -> type[np.uint16] | type[np.int32]:
    """The smallest type that holds the ranks of so many."""
    return np.uint16 if count <= 2**16 else np.int32

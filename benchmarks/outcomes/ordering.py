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
    kind = np.uint16 if scores.shape[-1] <= 2**16 else np.int32
    order = ranked(scores)
    places = np.broadcast_to(np.arange(scores.shape[-1], dtype=kind), scores.shape)
    found = np.empty(scores.shape, dtype=kind)
    np.put_along_axis(found, order, places, axis=-1)
    return found

"""The test images in two halves, several times: to choose on one half and to judge on the other.

The halves are a function of the list of test images alone, as the draws of the bootstrap are, so
that every record of a dataset is halved alike and a choice that one record makes (the best layer)
can be judged by another.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.outcomes.files import SPLITS

Floats = NDArray[np.float64]


def first_halves(images: int, sha256: str) -> NDArray[np.bool_]:
    """Which images are in the first half, (SPLITS, images); the others are in the second.

    `sha256` is the hash of the images' list, in hexadecimal. Philox (a counter-based generator,
    the same on every platform) with that key orders the images; the first `images // 2` are chosen.
    `ValueError` for fewer images than two.
    """
    if images < 2:
        raise ValueError(f"{images} images have no halves")
    words = np.random.Philox(key=int(sha256[:32] or "0", 16), counter=2 << 192)
    order = np.argsort(words.random_raw(SPLITS * images).reshape(SPLITS, images), kind="stable")
    first = np.zeros((SPLITS, images), dtype=bool)
    np.put_along_axis(first, order[:, : images // 2], True, axis=1)
    return first


def both_halves(images: int, sha256: str) -> NDArray[np.bool_]:
    """Every half, (2 * SPLITS, images): the first ones, then each one's other in the same order."""
    first = first_halves(images, sha256)
    return np.concatenate([first, ~first])


def other_halves(by_half: NDArray[Any]) -> NDArray[Any]:
    """`by_half` (..., 2 * SPLITS) with what belongs to the other half in each one's place."""
    return np.roll(by_half, SPLITS, axis=-1)


def average_precisions(
    order: NDArray[np.intp], labels: NDArray[np.int8], first: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Envelope AP in 0..1 over all, (problems,), and over each half, (problems, 2 * SPLITS).

    `order` (problems, N) are the rows from the highest score on, `labels` (N,) 1, 0, or -1 for rows
    that are not judged, and `first` (SPLITS, N) says which rows are in the first halves. NaN for a
    half without a positive. For the definition see `metrics.envelope_average_precision`.
    """
    problems, positive, judged = len(order), labels == 1, labels != -1
    if not positive.any():
        raise ValueError("average precision needs at least one positive")
    at = np.flatnonzero(positive[order])  # of the positives, best first, problem after problem

    def placed(among: NDArray[np.bool_]) -> NDArray[np.int32]:
        """The positives' places among some rows, from 1."""
        return np.cumsum(among[order], axis=1, dtype=np.int32).ravel()[at]

    places = placed(judged)
    by_half = np.full((problems, 2 * len(first)), np.nan)
    for number, half in enumerate(first):
        here = placed(half & judged)
        mine = half[order.ravel()[at]]
        for column, ranks in ((number, here[mine]), (number + len(first), (places - here)[~mine])):
            if len(ranks):
                by_half[:, column] = _area(ranks.reshape(problems, -1))
    return _area(places.reshape(problems, -1)), by_half


def _area(places: NDArray[Any]) -> Floats:
    """Under the precision envelope, (problems,), of the positives' places (problems, P) from 1."""
    precision = np.arange(1, places.shape[1] + 1) / places
    area: Floats = np.maximum.accumulate(precision[:, ::-1], axis=1).mean(1)
    return area

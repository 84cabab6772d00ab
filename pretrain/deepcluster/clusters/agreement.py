"""What labels say of each other and of themselves: NMI, and the sizes of clusters."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sizes:
    """How evenly the images are spread; min and median are over the non-empty clusters."""

    min: int
    median: float
    max: int
    empty: int


def cluster_sizes(labels: NDArray[np.int64], clusters: int) -> Sizes:
    """Size statistics of an assignment of images to `clusters` clusters."""
    counts = np.bincount(labels, minlength=clusters)
    filled = counts[counts > 0]
    return Sizes(
        int(filled.min()), float(np.median(filled)), int(filled.max()), int((counts == 0).sum())
    )


def agreement(
    name: str, first: NDArray[Any] | None, second: NDArray[np.int64]
) -> dict[str, float | None]:
    """Both forms of the NMI of two labellings, by the names that they have in a history."""
    return {
        name: nmi(first, second),
        f"{name}_arithmetic": nmi(first, second, arithmetic=True),
    }


def nmi(
    first: NDArray[Any] | None, second: NDArray[np.int64], *, arithmetic: bool = False
) -> float | None:
    """Normalised mutual information of two labellings (N,), in 0..1; None without the first.

    I(X; Y) / sqrt(H(X) H(Y)), the paper's equation and scikit-learn's default of its day; 1 when
    both are constant. With `arithmetic` divided by the mean of H(X) and H(Y), today's default.
    """
    if first is None:
        return None
    _, x = np.unique(first, return_inverse=True)
    _, y = np.unique(second, return_inverse=True)
    pairs = np.unique(x * (int(y.max()) + 1) + y, return_counts=True)[1]
    joint, own, other = (_entropy(count) for count in (pairs, np.bincount(x), np.bincount(y)))
    if own == other == 0:
        return 1.0
    scale = (own + other) / 2 if arithmetic else math.sqrt(own * other)
    # I = H(X) + H(Y) - H(X, Y); rounding must not lead out of 0..1.
    return min(max(0.0, (own + other - joint) / scale), 1.0) if scale else 0.0


def _entropy(counts: NDArray[np.int64]) -> float:
    """Shannon entropy in nats of a distribution given by positive counts."""
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0

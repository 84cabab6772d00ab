"""Points in groups that are known."""

import numpy as np
from numpy.typing import NDArray


def planted(
    clusters: int = 12, each: int = 60, width: int = 20, noise: float = 0.15
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(clusters, width))
    truth = np.repeat(np.arange(clusters), each)
    points = centres[truth] + noise * rng.normal(size=(len(truth), width))
    order = rng.permutation(len(truth))
    return points[order].astype(np.float32), truth[order]

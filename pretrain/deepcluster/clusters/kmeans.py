"""K-means on plain float32 arrays, by faiss: its index is on a GPU when there is one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.deepcluster.clusters.balance import assign_balanced
from pretrain.deepcluster.clusters.faiss_library import faiss

MAX_POINTS_PER_CENTROID = 10_000_000  # faiss would otherwise cluster a sample of the images


@dataclass(frozen=True)
class Clustering:
    """One assignment of N images to K clusters."""

    labels: NDArray[np.int64]  # (N,) in 0..K-1
    objective: float | None  # mean squared distance to the centroids of the last iteration


def kmeans(
    points: NDArray[np.float32],
    clusters: int,
    *,
    iterations: int = 20,
    seed: int,
    balance: bool = False,
) -> Clustering:
    """Lloyd's algorithm once from a seeded random start; points (N, D) float32.

    Between iterations faiss refills an empty cluster by splitting a large one; one that is empty
    after the last iteration stays empty (its number is in `cluster_sizes`). With `balance` the
    last assignment is to centroids that each take the same number of points, to one.
    """
    settings: dict[str, Any] = {
        "niter": iterations,
        "nredo": 1,
        "seed": seed,
        "max_points_per_centroid": MAX_POINTS_PER_CENTROID,
        "min_points_per_centroid": 1,  # only silences a warning
        "gpu": gpu_count() > 0,
    }
    search = faiss.Kmeans(points.shape[1], clusters, **settings)
    search.train(points)
    if balance:
        labels, distances = assign_balanced(points, search.centroids)
        return Clustering(labels, float(distances.mean()))
    _, labels = search.assign(points)
    return Clustering(labels.astype(np.int64), float(search.obj[-1]) / len(points))


def gpu_count() -> int:
    """GPUs that this build of faiss can use."""
    count = getattr(faiss, "get_num_gpus", None)
    return int(count()) if count else 0

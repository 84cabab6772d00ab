"""Features -> pseudo-labels: PCA-whitening, L2 normalisation, k-means, on plain float32 arrays.

Follows `clustering.py` of facebookresearch/deepcluster, with OpenSelfSup's guard against NaN. The
distances are faiss's: its index is on a GPU when there is one.
"""

import math
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from slurm.errors import UserError

MAX_POINTS_PER_CENTROID = 10_000_000  # faiss would otherwise cluster a sample of the images
NAN_TOLERATED = 0.001  # fraction of values after whitening


@dataclass(frozen=True)
class Clustering:
    """One assignment of N images to K clusters."""

    labels: NDArray[np.int64]  # (N,) in 0..K-1
    objective: float  # mean squared distance to the nearest centroid, last iteration


@dataclass(frozen=True)
class Sizes:
    """How evenly the images are spread; min and median are over the non-empty clusters."""

    min: int
    median: float
    max: int
    empty: int


def cluster(
    features: NDArray[np.float32],
    *,
    clusters: int,
    pca: int,
    iterations: int = 20,
    seed: int,
) -> Clustering:
    """Whiten `features` (N, D) to `pca` dimensions, normalise, and assign them by k-means.

    Raises:
        UserError: fewer images than clusters or PCA dimensions; features that are not finite, or
            vary in fewer directions than PCA is asked for.
    """
    images, width = features.shape
    if images < clusters:
        raise UserError(
            f"{images} images cannot make {clusters} clusters; use a recipe with fewer clusters "
            "or more images"
        )
    if pca > min(images, width):
        raise UserError(
            f"{images} features of {width} dimensions cannot be whitened to {pca} dimensions"
        )
    points = whiten(features, pca)
    normalise(points)
    return kmeans(points, clusters, iterations=iterations, seed=seed)


def whiten(features: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The `dimensions` leading principal components, scaled to unit variance.

    Args:
        features: (N, D) float32, C-contiguous; may be a memory map.

    Returns:
        (N, dimensions) float32 of mean zero and identity covariance.
    """
    if not np.isfinite(features.sum(axis=0, dtype=np.float64)).all():
        raise UserError(
            "the network's features hold NaN or infinity: training has diverged; use a lower "
            "learning rate"
        )
    matrix = faiss.PCAMatrix(features.shape[1], dimensions, -0.5)
    matrix.train(features)
    whitened: NDArray[np.float32] = matrix.apply(features)
    # A direction without variance is divided by the root of (almost) nothing.
    broken = ~np.isfinite(whitened)
    if broken.mean() > NAN_TOLERATED:
        raise UserError(
            f"{100 * broken.mean():.3g} % of the whitened features are not finite: the features "
            f"vary in fewer than {dimensions} directions; use a recipe with fewer PCA dimensions"
        )
    whitened[broken] = 0
    whitened *= math.sqrt(len(features))  # faiss's covariance is a sum, not a mean
    return whitened


def normalise(points: NDArray[np.float32]) -> None:
    """Scale each row of `points` to unit length, in place."""
    points /= np.linalg.norm(points, axis=1, keepdims=True) + 1e-10


def kmeans(
    points: NDArray[np.float32], clusters: int, *, iterations: int = 20, seed: int
) -> Clustering:
    """Lloyd's algorithm once from a seeded random start; points (N, D) float32.

    Between iterations faiss refills an empty cluster by splitting a large one; one that is empty
    after the last iteration stays empty (its number is in `cluster_sizes`).
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
    _, labels = search.assign(points)
    return Clustering(labels.astype(np.int64), float(search.obj[-1]) / len(points))


def gpu_count() -> int:
    """GPUs that this build of faiss can use."""
    count = getattr(faiss, "get_num_gpus", None)
    return int(count()) if count else 0


def cluster_sizes(labels: NDArray[np.int64], clusters: int) -> Sizes:
    """Size statistics of an assignment of images to `clusters` clusters."""
    counts = np.bincount(labels, minlength=clusters)
    filled = counts[counts > 0]
    return Sizes(
        int(filled.min()), float(np.median(filled)), int(filled.max()), int((counts == 0).sum())
    )


def nmi(first: NDArray[Any] | None, second: NDArray[np.int64]) -> float | None:
    """Normalised mutual information of two labellings (N,), in 0..1; None without the first.

    I(X; Y) divided by the mean of H(X) and H(Y), as scikit-learn's default; 1 when both are
    constant.
    """
    if first is None:
        return None
    _, x = np.unique(first, return_inverse=True)
    _, y = np.unique(second, return_inverse=True)
    pairs = np.unique(x * (int(y.max()) + 1) + y, return_counts=True)[1]
    joint, separate = _entropy(pairs), _entropy(np.bincount(x)) + _entropy(np.bincount(y))
    # I = H(X) + H(Y) - H(X, Y); rounding must not make it negative.
    return max(0.0, 2 * (separate - joint) / separate) if separate else 1.0


def _entropy(counts: NDArray[np.int64]) -> float:
    """Shannon entropy in nats of a distribution given by positive counts."""
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0

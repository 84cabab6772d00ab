"""Features -> pseudo-labels: PCA-whitening, L2 normalisation, k-means, on plain float32 arrays.

Follows `clustering.py` of facebookresearch/deepcluster; the whitening is our own. The distances
are faiss's: its index is on a GPU when there is one.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.deepcluster import feature_file
from pretrain.deepcluster.whitening import whiten
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError

ALONE, CPU = World(), torch.device("cpu")
MAX_POINTS_PER_CENTROID = 10_000_000  # faiss would otherwise cluster a sample of the images


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


def assign(
    path: Path,
    *,
    clusters: int,
    pca: int,
    iterations: int = 20,
    seed: int,
    world: World = ALONE,
    device: torch.device = CPU,
) -> Clustering:
    """Whiten the features in the file `path`, normalise, and assign them by k-means.

    Each process whitens its rows, rank 0 clusters them all, and all get the labels; the objective
    is rank 0's.

    Raises:
        UserError: too few images for the clusters or PCA dimensions; features that are not finite,
            or vary in fewer directions than PCA is asked for.
    """
    features = feature_file.read(path)
    count, width = features.shape
    check_sizes(count, width, clusters=clusters, pca=pca)
    first, last = feature_file.stripe(count, world.rank, world.size)
    points = whiten(features[first:last], pca, device)
    normalise(points)
    if world.size > 1:
        points = _joined(points, path.with_name(f"whitened.{path.name}"), first, count, world)
    found = Clustering(np.zeros(count, dtype=np.int64), 0.0)
    if world.first:
        found = kmeans(points, clusters, iterations=iterations, seed=seed)
    labels = distributed.broadcast(torch.from_numpy(found.labels).to(device)).cpu().numpy()
    return replace(found, labels=labels)


def _joined(
    points: NDArray[np.float32], path: Path, first: int, count: int, world: World
) -> NDArray[np.float32]:
    """The rows of all processes, on rank 0, through a file."""
    if world.first:
        feature_file.create(path, count, points.shape[1])
    distributed.barrier()
    with feature_file.RowWriter(path, first) as rows:
        rows.write(points)
    distributed.barrier()
    if world.first:
        points = np.array(feature_file.read(path))
        path.unlink()
    return points


def check_sizes(images: int, width: int, *, clusters: int, pca: int) -> None:
    """Raise `UserError` unless so many features of that width can be whitened and clustered."""
    if images < clusters:
        raise UserError(
            f"{images} images cannot make {clusters} clusters; use a recipe with fewer clusters "
            "or more images"
        )
    if pca > min(images - 1, width):
        raise UserError(
            f"{images} features of {width} dimensions cannot be whitened to {pca} dimensions: at "
            f"most to {min(images - 1, width)}"
        )


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

"""Features -> pseudo-labels: PCA-whitening, L2 normalisation, k-means or PIC.

Follows `clustering.py` of facebookresearch/deepcluster; the whitening is our own.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.deepcluster.clusters import feature_file
from pretrain.deepcluster.clusters.kmeans import Clustering, kmeans
from pretrain.deepcluster.clusters.power_iteration import power_iteration_clusters
from pretrain.deepcluster.clusters.whitening import whiten
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError

ALONE, CPU = World(), torch.device("cpu")


def assign(
    path: Path,
    *,
    clusters: int,
    pca: int,
    iterations: int = 20,
    seed: int,
    algorithm: Literal["kmeans", "pic"] = "kmeans",
    balance: bool = False,
    world: World = ALONE,
    device: torch.device = CPU,
) -> Clustering:
    """Whiten the features in the file `path`, normalise, and assign them to at most `clusters`.

    By k-means, at the end of which `balance` makes clusters of one size, or by power iteration
    clustering, which finds a number of clusters of its own. Each process whitens its rows, rank 0
    clusters them all, and all get the labels; the objective is rank 0's.

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
        if algorithm == "pic":
            found = Clustering(power_iteration_clusters(points, clusters), None)
        else:
            found = kmeans(points, clusters, iterations=iterations, seed=seed, balance=balance)
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

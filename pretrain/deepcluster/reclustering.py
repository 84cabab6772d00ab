"""One clustering of a run: the network's features of all images, their clusters, what they are."""

import time
from typing import Any

import torch
from numpy.typing import NDArray

from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.batches import Images
from pretrain.deepcluster.clusters.agreement import agreement, cluster_sizes
from pretrain.deepcluster.clusters.assignment import assign
from pretrain.deepcluster.clusters.kmeans import Clustering
from pretrain.deepcluster.extract import extract
from pretrain.deepcluster.model import DeepClusterNet, seed_of
from pretrain.deepcluster.recipes import Recipe
from pretrain.deepcluster.settings import Settings
from slurm.distributed import World


def cluster_images(
    net: DeepClusterNet,
    images: ImageSplit,
    loaded: Images,
    recipe: Recipe,
    settings: Settings,
    *,
    epoch: int,
    previous: NDArray[Any] | None,
    world: World,
    device: torch.device,
) -> tuple[Clustering, dict[str, Any]]:
    """Assign every image to a cluster by the present features; the figures are the history's.

    `previous` are the labels of the clustering before. All processes take part and get the same.
    """
    started = time.monotonic()
    path = extract(
        net,
        loaded,
        settings,
        batch_size=recipe.batch_size,
        precision=recipe.features,
        world=world,
        device=device,
    )
    extracted = time.monotonic()
    try:
        found = assign(
            path,
            clusters=recipe.clusters,
            pca=recipe.pca,
            iterations=recipe.kmeans_iterations,
            seed=seed_of(settings.seed, epoch, 1) % 2**31,
            algorithm=recipe.algorithm,
            balance=recipe.balance,
            world=world,
            device=device,
        )
    finally:
        if world.first:
            path.unlink(missing_ok=True)
    times = {
        "seconds_features": extracted - started,
        "seconds_clustering": time.monotonic() - extracted,
    }
    truth = images.labels if images.classes else None
    return found, figures_of(found, recipe.clusters, previous, truth) | times


def figures_of(
    found: Clustering, clusters: int, previous: NDArray[Any] | None, truth: NDArray[Any] | None
) -> dict[str, Any]:
    """What the history says of a clustering; plain numbers, None where there is nothing."""
    sizes = cluster_sizes(found.labels, clusters)
    return {
        **agreement("nmi_previous", previous, found.labels),
        **agreement("nmi_labels", truth, found.labels),
        "smallest": sizes.min,
        "median": sizes.median,
        "largest": sizes.max,
        "empty": sizes.empty,
        "kmeans_objective": found.objective,
    }

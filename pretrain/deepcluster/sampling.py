"""Uniform sampling over clusters (DeepCluster, section 3.3 of arXiv:1807.05520).

Without it, a few large clusters would dominate the loss and the network could collapse onto them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def draw_uniform(labels: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Indices of the N images of one epoch, every non-empty cluster equally often.

    As in FAIR's `UnifLabelSampler`: int(N / non-empty) + 1 draws from each non-empty cluster, with
    replacement only where the cluster is not larger than that, shuffled, cut to N. Empty clusters
    take no share, so the list is never short.

    Args:
        labels: (N,) cluster of each image.
        seed, epoch: key of the draw; the same key gives the same draw.

    Returns:
        (N,) int64 indices into `labels`.
    """
    total = len(labels)
    rng = np.random.default_rng([seed, epoch, 0])
    clusters = group_by_cluster(labels)
    quota = total // len(clusters) + 1
    drawn = [rng.choice(members, quota, replace=len(members) <= quota) for members in clusters]
    return rng.permutation(np.concatenate(drawn))[:total]


def group_by_cluster(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The image indices of each non-empty cluster, ascending."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, starts)


def loss_weights(labels: NDArray[np.int64], clusters: int) -> NDArray[np.float32]:
    """Weight (K,) of each cluster in the loss: 1/sqrt(size), with mean 1 over those not empty.

    Draws are uniform over these clusters, so the mean weight of what is trained on is 1 as well.
    """
    sizes = np.bincount(labels, minlength=clusters)
    filled = sizes > 0
    weights = np.zeros(clusters)
    weights[filled] = sizes[filled] ** -0.5
    weights /= weights[filled].mean()
    return weights.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Plan:
    """The images of one epoch, batch by batch, each draw under an id of its own.

    The first draw of image i has the id i, a repeated one an id from N on, so that the copies that
    fill a small cluster's share are cropped independently of each other.
    """

    ids: NDArray[np.int64]  # (steps, batch_size)
    images: NDArray[np.int64]  # id -> index of the image, (N + repeats,)

    def share(self, rank: int, size: int) -> NDArray[np.int64]:
        """(steps, batch_size / size) ids that process `rank` of `size` trains on."""
        steps, batch_size = self.ids.shape
        return self.ids.reshape(steps, size, batch_size // size)[:, rank]


def plan_epoch(draws: NDArray[np.int64], batch_size: int) -> Plan:
    """Cut the N draws of an epoch into batches of `batch_size`, all of them whole.

    The last one is filled up from the first draws, so that all processes have the same share of
    every step and BatchNorm never sees a lone image.
    """
    total = len(draws)
    steps = -(-total // batch_size)
    images = np.resize(draws, steps * batch_size)
    order = np.argsort(images, kind="stable")
    repeated = np.zeros(len(images), dtype=bool)
    repeated[order[1:]] = np.diff(images[order]) == 0
    ids = images.copy()
    ids[repeated] = total + np.arange(repeated.sum())
    owners = np.concatenate([np.arange(total), images[repeated]])
    return Plan(ids.reshape(steps, batch_size), owners)

"""How far each cluster is of one class, where there are labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Cluster:
    """One cluster that is not empty: its images, and the class that most of them have."""

    number: int
    images: int
    purity: float | None = None  # share of the largest class in it, 0..1
    majority: int | None = None  # that class; of equal ones the first


def clusters_of(labels: Labels, truth: Labels | None) -> list[Cluster]:
    """The clusters that are not empty, by number; labels and truth (N,), truth from 0."""
    sizes = np.bincount(labels)
    numbers = np.flatnonzero(sizes)
    if truth is None:
        return [Cluster(int(number), int(sizes[number])) for number in numbers]
    # Counts of the pairs that occur: a table of all clusters and classes could be 10^8 cells.
    classes = int(truth.max()) + 1
    pairs, counts = np.unique(labels * classes + truth, return_counts=True)
    owner, own = pairs // classes, pairs % classes
    order = np.lexsort((own, -counts, owner))
    best = order[np.flatnonzero(np.diff(owner[order], prepend=-1))]
    return [
        Cluster(int(number), int(sizes[number]), float(counts[row] / sizes[number]), int(own[row]))
        for number, row in zip(numbers, best, strict=True)
    ]


def mean_purity(clusters: list[Cluster]) -> float:
    """The share of all images that are of their cluster's largest class."""
    right = sum(cluster.images * (cluster.purity or 0.0) for cluster in clusters)
    return right / sum(cluster.images for cluster in clusters)


def chosen(clusters: list[Cluster], most: int) -> list[Cluster]:
    """At most `most`, evenly from the purest (without labels the largest) to the last.

    No one's choice, so that a sheet of them says what the clusters are like.
    """
    ranked = sorted(clusters, key=lambda one: (-(one.purity or 0.0), -one.images, one.number))
    places = np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round())
    return [ranked[int(place)] for place in places]

"""Points to centroids that each take the same number of them.

The closest pair of a point and a centroid with room is taken first, then the next, and so on. It is
found as a stable matching (Gale, Shapley 1962): points ask centroids from the nearest on, and each
centroid keeps the nearest that asked. Both sides rank by the same distance, so that there is one
answer, and no list of all N x K pairs is needed.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 25  # distances in memory at a time

Points = NDArray[np.float32]
Labels = NDArray[np.int64]
Distances = NDArray[np.float64]


def assign_balanced(points: Points, centroids: Points) -> tuple[Labels, Distances]:
    """Cluster (N,) of each point, and its squared distance to that centroid (N,).

    Sizes differ by at most one; the larger ones are of the centroids that are nearest to most
    points. points (N, D), centroids (K, D). Of equal distances the lower indices come first.
    """
    count, clusters = len(points), len(centroids)
    limits = np.full(clusters, np.inf)  # a centroid takes what is nearer than this
    labels, distances = _next_choices(points, centroids, limits)
    popular = np.argsort(-np.bincount(labels, minlength=clusters), kind="stable")
    room = np.full(clusters, count // clusters)
    room[popular[: count % clusters]] += 1
    while True:
        # Each centroid keeps the nearest of those that it had and those that ask.
        held = np.lexsort((np.arange(count), distances, labels))
        owner = labels[held]
        place = np.arange(count) - np.searchsorted(owner, np.arange(clusters))[owner]
        last = place == room[owner] - 1
        limits[owner[last]] = distances[held[last]]
        asking = np.sort(held[place >= room[owner]])
        if not len(asking):
            return labels, distances
        labels[asking], distances[asking] = _next_choices(points[asking], centroids, limits)


def _next_choices(points: Points, centroids: Points, limits: Distances) -> tuple[Labels, Distances]:
    """The nearest centroid of each point of those that would take it, and its squared distance."""
    labels = np.zeros(len(points), np.int64)
    distances = np.zeros(len(points))
    squares = np.square(centroids, dtype=np.float64).sum(1)
    for start in range(0, len(points), max(1, BLOCK // len(centroids))):
        part = slice(start, start + max(1, BLOCK // len(centroids)))
        block = points[part].astype(np.float64)
        away = np.square(block).sum(1)[:, None] - 2 * (block @ centroids.T) + squares
        np.maximum(away, 0, out=away)
        away[away >= limits] = np.inf
        labels[part] = away.argmin(1)
        distances[part] = away[np.arange(len(block)), labels[part]]
    return labels, distances

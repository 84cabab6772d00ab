"""Power iteration clustering of a graph of nearest neighbours, as the DeepCluster paper has it.

Lin and Cohen (ICML 2010), in the form of Douze et al. (CVPR 2018) and of the appendix of Caron et
al. (ECCV 2018): a walk over the graph of nearest neighbours gives each image a value, each image
points to the neighbour uphill that attracts it most, and a cluster is all that leads to one peak.
Nothing in it is drawn: the same points make the same clusters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrain.deepcluster.clusters.faiss_library import faiss
from pretrain.deepcluster.clusters.kmeans import gpu_count

NEIGHBOURS = 5
SIGMA = 0.2  # bandwidth: an edge of length d weighs exp(-d^2 / SIGMA^2)
ALPHA = 0.001  # share of the walk against that of the uniform start
ITERATIONS = 200

Labels = NDArray[np.int64]


def power_iteration_clusters(points: NDArray[np.float32], most: int) -> Labels:
    """Cluster (N,) of each point (N, D), the largest cluster first; at most `most` of them.

    How many there are follows from the points. A cluster of one image joins that of its nearest
    neighbour which is in none of one, if one of its neighbours is. Where there are more than
    `most`, the images of the smallest join the cluster of their nearest neighbour in a larger one,
    or else the largest.
    """
    neighbours, distances = nearest_neighbours(points, min(NEIGHBOURS, len(points) - 1))
    graph = affinities(neighbours, distances)
    labels = peaks(graph, walk(graph))
    sizes = np.bincount(labels)
    labels = _moved(labels, sizes == 1, neighbours, alone=True)
    sizes = np.bincount(labels)
    by_size = np.argsort(-sizes, kind="stable")
    if (sizes > 0).sum() > most:
        small = np.zeros(len(sizes), bool)
        small[by_size[most:]] = True
        labels = _moved(labels, small, neighbours, alone=False, otherwise=int(by_size[0]))
        by_size = np.argsort(-np.bincount(labels, minlength=len(sizes)), kind="stable")
    number = np.empty(len(by_size), np.int64)
    number[by_size] = np.arange(len(by_size))
    return number[labels]


def nearest_neighbours(
    points: NDArray[np.float32], count: int
) -> tuple[Labels, NDArray[np.float64]]:
    """Indices and squared distances (N, count) of each point's nearest others, nearest first."""
    index = faiss.IndexFlatL2(points.shape[1])
    if gpu_count():
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(points)
    distances, found = index.search(points, count + 1)
    # Usually the first is the point itself, but of equal ones another may come first.
    own = found == np.arange(len(points))[:, None]
    own[~own.any(1), -1] = True
    rows = (len(points), count)
    return found[~own].reshape(rows), distances[~own].reshape(rows).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Graph:
    """A symmetric graph of N images; its edges by row, then by column."""

    images: int
    rows: Labels  # (E,)
    columns: Labels
    weights: NDArray[np.float64]


def affinities(neighbours: Labels, distances: NDArray[np.float64]) -> Graph:
    """W + W' of the directed graph whose edges of length d weigh exp(-d^2 / SIGMA^2)."""
    count, degree = neighbours.shape
    weights = np.exp(-np.maximum(distances, 0) / SIGMA**2).ravel()
    start, end = np.repeat(np.arange(count), degree), neighbours.ravel()
    edges, which = np.unique(
        np.concatenate([start * count + end, end * count + start]), return_inverse=True
    )
    total = np.bincount(which, np.concatenate([weights, weights])).astype(np.float64)
    return Graph(count, edges // count, edges % count, total)


def walk(graph: Graph) -> NDArray[np.float64]:
    """The value (N,) of each image after the power iterations; they sum to 1."""
    count = graph.images
    values = np.full(count, 1 / count)
    for _ in range(ITERATIONS):
        spread = np.bincount(graph.rows, graph.weights * values[graph.columns], count)
        values = ALPHA * spread + (1 - ALPHA) / count
        values /= values.sum()
    return values


def peaks(graph: Graph, values: NDArray[np.float64]) -> Labels:
    """Cluster (N,) of each image: which image one comes to by following the steepest edges uphill.

    From i it goes on to the j with the largest w_ij (v_j - v_i), while that is positive.
    """
    gains = graph.weights * (values[graph.columns] - values[graph.rows])
    # Of each row the largest gain, of equal ones the first.
    order = np.lexsort((np.arange(len(gains)), -gains, graph.rows))
    first = order[np.flatnonzero(np.diff(graph.rows[order], prepend=-1))]
    climbs = first[gains[first] > 0]
    uphill = np.arange(graph.images)
    uphill[graph.rows[climbs]] = graph.columns[climbs]
    while not np.array_equal(further := uphill[uphill], uphill):
        uphill = further
    return np.unique(uphill, return_inverse=True)[1].astype(np.int64)


def _moved(
    labels: Labels,
    leaving: NDArray[np.bool_],
    neighbours: Labels,
    *,
    alone: bool,
    otherwise: int = -1,
) -> Labels:
    """The labels after each image of a cluster that is `leaving` joined its nearest neighbour's.

    Only neighbours in clusters that stay count. Images without one stay (`alone`) or go to
    `otherwise`.
    """
    moved = labels.copy()
    for image in np.flatnonzero(leaving[labels]):
        staying = [label for label in labels[neighbours[image]] if not leaving[label]]
        if staying:
            moved[image] = staying[0]
        elif not alone:
            moved[image] = otherwise
    return moved

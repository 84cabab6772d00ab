"""K-means against scikit-learn and its own definition."""

import faiss
import numpy as np
import pytest
from sklearn.cluster import KMeans

from pretrain.deepcluster.clusters.agreement import cluster_sizes
from pretrain.deepcluster.clusters.kmeans import kmeans
from tests.pretrain.deepcluster.clusters.planted import planted


def test_kmeans_is_as_good_as_scikit_learn() -> None:
    points, _ = planted(noise=0.6)
    ours = [kmeans(points, 12, seed=seed).objective for seed in range(20)]
    theirs = [
        KMeans(12, init="random", n_init=1, max_iter=20, random_state=seed).fit(points).inertia_
        for seed in range(20)
    ]
    assert np.mean(ours) < 1.1 * np.mean(theirs) / len(points)


def test_every_point_is_with_its_nearest_centroid_and_all_points_are_used() -> None:
    # faiss clusters a sample of 256 points a centroid unless told otherwise.
    points, _ = planted(clusters=3, each=1000)
    found = kmeans(points, 2, iterations=50, seed=0)
    centres = np.stack([points[found.labels == label].mean(0) for label in range(2)])
    distances = ((points[:, None] - centres) ** 2).sum(-1)
    assert (distances.argmin(1) == found.labels).mean() > 0.999
    np.testing.assert_allclose(distances.min(1).mean(), found.objective, rtol=1e-3)


def test_empty_clusters_are_survived_and_counted() -> None:
    # Five distinct points cannot fill eight clusters.
    points = np.repeat(np.eye(5, dtype=np.float32), 20, axis=0)
    found = kmeans(points, 8, seed=0)
    sizes = cluster_sizes(found.labels, 8)
    filled = len(np.unique(found.labels))
    assert filled <= 5
    assert sizes.empty == 8 - filled >= 3
    assert sizes.min >= 20


def test_labels_and_objective_are_those_of_faiss_own_clustering() -> None:
    points, _ = planted(clusters=12, each=100, noise=0.8)
    for seed in (0, 7, 1234):
        search = faiss.Clustering(points.shape[1], 40)
        search.niter, search.seed = 20, seed
        search.max_points_per_centroid, search.min_points_per_centroid = 10_000_000, 1
        index = faiss.IndexFlatL2(points.shape[1])
        search.train(points, index)
        _, nearest = index.search(points, 1)
        steps = search.iteration_stats  # fewer than 20 where nothing moves any more
        objective = steps.at(steps.size() - 1).obj / len(points)
        found = kmeans(points, 40, iterations=20, seed=seed)
        assert np.array_equal(found.labels, nearest[:, 0])
        assert found.objective == pytest.approx(objective, rel=1e-6)

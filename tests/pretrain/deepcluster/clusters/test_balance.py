"""Balanced assignment against the loop that defines it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pretrain.deepcluster.clusters import balance
from pretrain.deepcluster.clusters.balance import assign_balanced
from pretrain.deepcluster.clusters.kmeans import kmeans
from tests.pretrain.deepcluster.clusters.planted import planted


def by_loop(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> list[int]:
    """All pairs by distance; each is taken while its point is free and its centroid has room."""
    far = ((points[:, None].astype(np.float64) - centroids) ** 2).sum(-1)
    popular = np.bincount(far.argmin(1), minlength=len(centroids))
    room = [len(points) // len(centroids)] * len(centroids)
    for one in sorted(range(len(room)), key=lambda c: (-popular[c], c))[: len(points) % len(room)]:
        room[one] += 1
    labels = [-1] * len(points)
    for pair in np.argsort(far.ravel(), kind="stable").tolist():
        point, centroid = divmod(pair, len(centroids))
        if labels[point] < 0 and room[centroid]:
            labels[point] = centroid
            room[centroid] -= 1
    return labels


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(5, 80),
    clusters=st.integers(1, 12),
    spread=st.sampled_from([0.01, 0.3, 3.0]),
)
def test_the_nearest_pair_is_taken_first(
    seed: int, count: int, clusters: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    clusters = min(clusters, count)
    points = rng.normal(size=(count, 3)).astype(np.float32)
    centroids = (spread * rng.normal(size=(clusters, 3))).astype(np.float32)
    labels, distances = assign_balanced(points, centroids)
    assert labels.tolist() == by_loop(points, centroids)
    assert np.ptp(np.bincount(labels, minlength=clusters)) <= 1
    np.testing.assert_allclose(distances, ((points - centroids[labels]) ** 2).sum(1), rtol=1e-4)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _ = planted(noise=0.8)
    whole, _ = assign_balanced(points, points[:50])
    monkeypatch.setattr(balance, "BLOCK", 300)
    assert np.array_equal(assign_balanced(points, points[:50])[0], whole)


def test_balanced_kmeans_has_clusters_of_one_size_and_its_own_objective() -> None:
    points, _ = planted(clusters=5, each=40, noise=0.4)
    found = kmeans(points, 30, seed=0, balance=True)
    assert set(np.bincount(found.labels, minlength=30)) == {6, 7}
    free = kmeans(points, 30, seed=0)
    assert found.objective is not None
    assert free.objective is not None
    assert found.objective > free.objective
    again = kmeans(points, 30, seed=0, balance=True)
    assert np.array_equal(found.labels, again.labels)


def test_equal_points_are_shared_out() -> None:
    points = np.zeros((30, 2), np.float32)
    labels, _ = assign_balanced(points, np.arange(8, dtype=np.float32).reshape(4, 2))
    assert sorted(np.bincount(labels)) == [7, 7, 8, 8]

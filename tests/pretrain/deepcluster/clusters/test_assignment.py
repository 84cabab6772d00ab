"""Clustering of feature files against planted structure; what cannot be clustered is one line."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from pretrain.deepcluster.clusters import assignment
from pretrain.deepcluster.clusters.agreement import nmi
from pretrain.deepcluster.clusters.kmeans import Clustering
from slurm.errors import UserError
from tests.pretrain.deepcluster.clusters.planted import planted


def cluster(points: NDArray[np.float32], folder: Path, **settings: int) -> Clustering:
    """What `assign` finds in a file of these features."""
    path = folder / "features.host.1.npy"
    np.save(path, points)
    found = assignment.assign(path, **settings)
    assert np.array_equal(points, np.load(path), equal_nan=True)  # untouched
    assert list(folder.iterdir()) == [path]
    return found


def test_planted_clusters_are_recovered(tmp_path: Path) -> None:
    points, truth = planted()
    found = cluster(points, tmp_path, clusters=12, pca=11, seed=1)
    # One random start may merge two of twelve; what it finds is never mixed otherwise.
    assert adjusted_rand_score(truth, found.labels) > 0.75
    assert nmi(truth, found.labels) > 0.9  # type: ignore[operator]
    many = cluster(points, tmp_path, clusters=60, pca=11, seed=1)
    for label in range(60):  # with more clusters than groups, each cluster is pure
        assert len(set(truth[many.labels == label])) <= 1


def test_points_are_normalised_before_kmeans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[NDArray[np.float32]] = []
    kmeans = assignment.kmeans

    def spy(points: NDArray[np.float32], *args: int, **settings: int) -> Clustering:
        seen.append(points.copy())
        return kmeans(points, *args, **settings)

    monkeypatch.setattr(assignment, "kmeans", spy)
    points, _ = planted()
    cluster(points, tmp_path, clusters=4, pca=8, seed=0)
    np.testing.assert_allclose(np.linalg.norm(seen[0], axis=1), 1, rtol=1e-5)


def test_seed_decides(tmp_path: Path) -> None:
    points, _ = planted(noise=1.0)
    first = cluster(points, tmp_path, clusters=40, pca=10, seed=5)
    again = cluster(points, tmp_path, clusters=40, pca=10, seed=5)
    other = cluster(points, tmp_path, clusters=40, pca=10, seed=6)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    points, _ = planted()
    points[7, 3] = bad
    with pytest.raises(UserError, match="NaN or infinity"):
        cluster(points, tmp_path, clusters=4, pca=8, seed=0)


def test_too_few_images_or_dimensions(tmp_path: Path) -> None:
    points, _ = planted(clusters=2, each=5)
    with pytest.raises(UserError, match="10 images cannot make 11 clusters"):
        cluster(points, tmp_path, clusters=11, pca=4, seed=0)
    with pytest.raises(UserError, match="cannot be whitened to 10 dimensions: at most to 9"):
        cluster(points, tmp_path, clusters=2, pca=10, seed=0)
    with pytest.raises(UserError, match="cannot be whitened to 21 dimensions: at most to 20"):
        cluster(np.tile(points, (3, 1)), tmp_path, clusters=2, pca=21, seed=0)


def test_what_does_not_vary_is_no_direction(tmp_path: Path) -> None:
    """Ten clear groups in 32 of 512 dimensions; in more, noise would be blown up to one."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(10), 30)
    low = 3 * rng.normal(size=(10, 32))[truth] + 0.1 * rng.normal(size=(300, 32))
    points = (low @ rng.normal(size=(32, 512))).astype(np.float32)
    found = cluster(points, tmp_path, clusters=30, pca=9, seed=0)
    for label in range(30):
        assert len(set(truth[found.labels == label])) <= 1
    with pytest.raises(UserError, match="vary in 32 directions, fewer than the 33 of PCA"):
        cluster(points, tmp_path, clusters=10, pca=33, seed=0)

"""Clustering against planted structure, NumPy's covariance and scikit-learn."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from pretrain.deepcluster import clustering
from slurm.errors import UserError


def planted(
    clusters: int = 12, each: int = 60, width: int = 20, noise: float = 0.15
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(clusters, width))
    truth = np.repeat(np.arange(clusters), each)
    points = centres[truth] + noise * rng.normal(size=(len(truth), width))
    order = rng.permutation(len(truth))
    return points[order].astype(np.float32), truth[order]


def cluster(points: NDArray[np.float32], folder: Path, **settings: int) -> clustering.Clustering:
    """What `assign` finds in a file of these features."""
    path = folder / "features.host.1.npy"
    np.save(path, points)
    found = clustering.assign(path, **settings)
    assert np.array_equal(points, np.load(path), equal_nan=True)  # untouched
    assert list(folder.iterdir()) == [path]
    return found


def test_planted_clusters_are_recovered(tmp_path: Path) -> None:
    points, truth = planted()
    found = cluster(points, tmp_path, clusters=12, pca=11, seed=1)
    # One random start may merge two of twelve; what it finds is never mixed otherwise.
    assert adjusted_rand_score(truth, found.labels) > 0.75
    assert clustering.nmi(truth, found.labels) > 0.9  # type: ignore[operator]
    many = cluster(points, tmp_path, clusters=60, pca=11, seed=1)
    for label in range(60):  # with more clusters than groups, each cluster is pure
        assert len(set(truth[many.labels == label])) <= 1


def test_points_are_normalised_before_kmeans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[NDArray[np.float32]] = []
    kmeans = clustering.kmeans

    def spy(points: NDArray[np.float32], *args: int, **settings: int) -> clustering.Clustering:
        seen.append(points.copy())
        return kmeans(points, *args, **settings)

    monkeypatch.setattr(clustering, "kmeans", spy)
    points, _ = planted()
    cluster(points, tmp_path, clusters=4, pca=8, seed=0)
    np.testing.assert_allclose(np.linalg.norm(seen[0], axis=1), 1, rtol=1e-5)


def test_kmeans_is_as_good_as_scikit_learn() -> None:
    points, _ = planted(noise=0.6)
    ours = [clustering.kmeans(points, 12, seed=seed).objective for seed in range(20)]
    theirs = [
        KMeans(12, init="random", n_init=1, max_iter=20, random_state=seed).fit(points).inertia_
        for seed in range(20)
    ]
    assert np.mean(ours) < 1.1 * np.mean(theirs) / len(points)


def test_every_point_is_with_its_nearest_centroid_and_all_points_are_used() -> None:
    # faiss clusters a sample of 256 points a centroid unless told otherwise.
    points, _ = planted(clusters=3, each=1000)
    found = clustering.kmeans(points, 2, iterations=50, seed=0)
    centres = np.stack([points[found.labels == label].mean(0) for label in range(2)])
    distances = ((points[:, None] - centres) ** 2).sum(-1)
    assert (distances.argmin(1) == found.labels).mean() > 0.999
    np.testing.assert_allclose(distances.min(1).mean(), found.objective, rtol=1e-3)


def test_seed_decides(tmp_path: Path) -> None:
    points, _ = planted(noise=1.0)
    first = cluster(points, tmp_path, clusters=40, pca=10, seed=5)
    again = cluster(points, tmp_path, clusters=40, pca=10, seed=5)
    other = cluster(points, tmp_path, clusters=40, pca=10, seed=6)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


def test_empty_clusters_are_survived_and_counted() -> None:
    # Five distinct points cannot fill eight clusters.
    points = np.repeat(np.eye(5, dtype=np.float32), 20, axis=0)
    found = clustering.kmeans(points, 8, seed=0)
    sizes = clustering.cluster_sizes(found.labels, 8)
    filled = len(np.unique(found.labels))
    assert filled <= 5
    assert sizes.empty == 8 - filled >= 3
    assert sizes.min >= 20


def test_sizes() -> None:
    labels = np.array([0, 0, 0, 2, 2, 5])
    assert clustering.cluster_sizes(labels, 7) == clustering.Sizes(1, 2.0, 3, 4)


labels_30 = st.lists(st.integers(0, 5), min_size=30, max_size=30).map(np.array)


@settings(max_examples=50, deadline=None)
@given(first=labels_30, second=labels_30)
def test_nmi_is_scikit_learns(first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    found = clustering.agreement("nmi", first, second)
    for name, mean in (("nmi", "geometric"), ("nmi_arithmetic", "arithmetic")):
        expected = normalized_mutual_info_score(first, second, average_method=mean)
        assert found[name] == pytest.approx(expected, abs=1e-9)
        assert 0 <= (found[name] or 0) <= 1


def test_nmi_is_the_papers() -> None:
    """I(A; B) / sqrt(H(A) H(B)): log 2 / sqrt(log 2 * log 4)."""
    found = clustering.agreement("nmi", np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3]))
    assert found["nmi"] == pytest.approx(math.sqrt(0.5))
    assert found["nmi_arithmetic"] == pytest.approx(2 / 3)
    same = clustering.nmi(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 2, 2, 1]))
    assert same == 1.0  # rounding says 1.0000000000000002


def test_nmi_of_renamed_clusters_constants_and_nothing() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 500)
    assert clustering.nmi(labels, (labels + 3) % 10) == pytest.approx(1.0)
    constant = np.zeros(500, dtype=np.int64)
    assert clustering.nmi(labels, constant) == 0.0
    assert clustering.nmi(constant, constant) == 1.0
    assert clustering.nmi(None, labels) is None


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

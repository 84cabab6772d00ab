"""Power iteration clustering against plain loops over a dense matrix."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from pretrain.deepcluster.clusters.power_iteration import power_iteration_clusters
from tests.pretrain.deepcluster.clusters.planted import planted


def unit(points: NDArray[np.float32]) -> NDArray[np.float32]:
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def by_loops(points: NDArray[np.float32]) -> list[set[int]]:
    """The paper's appendix, image by image: edges, 200 iterations, the steepest way uphill."""
    count = len(points)
    far = ((points[:, None].astype(np.float64) - points) ** 2).sum(-1)
    near = [[j for j in np.argsort(far[i]) if j != i][:5] for i in range(count)]
    graph = np.zeros((count, count))
    for i in range(count):
        for j in near[i]:
            graph[i, j] += np.exp(-far[i, j] / 0.2**2)
            graph[j, i] += np.exp(-far[i, j] / 0.2**2)
    values = np.ones(count) / count
    for _ in range(200):
        values = 0.001 * graph @ values + 0.999 / count
        values = values / np.abs(values).sum()
    peak = []
    for i in range(count):
        at = i
        while True:
            gains = graph[at] * (values - values[at])
            if gains.max() <= 0:
                break
            at = int(gains.argmax())
        peak.append(at)
    alone = {i for i in range(count) if peak.count(peak[i]) == 1}
    for i in alone:
        others = [j for j in near[i] if j not in alone]
        peak[i] = peak[others[0]] if others else peak[i]
    return [{i for i in range(count) if peak[i] == one} for one in set(peak)]


@pytest.mark.parametrize("noise", [0.1, 0.3, 1.0])
def test_clusters_are_those_of_plain_loops(noise: float) -> None:
    points = unit(planted(clusters=8, each=20, width=6, noise=noise)[0])
    labels = power_iteration_clusters(points, 160)
    found = [set(np.flatnonzero(labels == label)) for label in range(labels.max() + 1)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, by_loops(points)))
    sizes = np.bincount(labels)
    assert np.array_equal(sizes, np.sort(sizes)[::-1])  # the largest first, none empty
    assert sizes.min() > 0


def test_no_more_clusters_than_asked_for_and_the_largest_stay() -> None:
    points = unit(planted(clusters=8, each=20, width=6, noise=0.3)[0])
    free = power_iteration_clusters(points, 160)
    count = free.max() + 1
    assert count > 6
    fewer = power_iteration_clusters(points, 6)
    assert fewer.max() + 1 == 6
    for label in range(6):  # each has kept its images, and taken up others
        assert len(set(fewer[free == label])) == 1


def test_clear_groups_are_never_mixed() -> None:
    points, truth = planted(clusters=10, each=40, width=16, noise=0.05)
    labels = power_iteration_clusters(unit(points), 400)
    for label in range(labels.max() + 1):
        assert len(set(truth[labels == label])) == 1
    assert adjusted_rand_score(truth, labels) > 0.3


def test_equal_points_and_few_points() -> None:
    same = np.tile(np.eye(4, dtype=np.float32), (10, 1))
    labels = power_iteration_clusters(same, 40)
    for label in range(labels.max() + 1):
        assert len(np.unique(same[labels == label], axis=0)) == 1
    assert len(power_iteration_clusters(np.eye(3, dtype=np.float32), 3)) == 3

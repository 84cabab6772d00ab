"""Uniform sampling: exactly N draws, every non-empty cluster its share, keyed by seed and epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pretrain.deepcluster.sampling import draw_uniform, group_by_cluster, loss_weights, plan_epoch

labellings = st.lists(st.integers(0, 30), min_size=1, max_size=300).map(np.array)


@settings(max_examples=200, deadline=None)
@given(labels=labellings, seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_exactly_n_draws_and_every_cluster_its_quota(
    labels: NDArray[np.int64], seed: int, epoch: int
) -> None:
    draws = draw_uniform(labels, seed=seed, epoch=epoch)
    assert len(draws) == len(labels)  # also when clusters are empty: 0..30 never all occur
    clusters = np.unique(labels)
    quota = len(labels) // len(clusters) + 1
    counts = np.bincount(labels[draws], minlength=31)
    assert counts.max() <= quota
    # All that the cut to N takes away is the surplus of the quotas.
    assert (quota - counts[clusters]).sum() == quota * len(clusters) - len(labels)
    repeats = np.bincount(draws, minlength=len(labels))
    for cluster in clusters:
        members = np.flatnonzero(labels == cluster)
        if len(members) > quota:  # large clusters are sampled without replacement
            assert repeats[members].max() <= 1


def test_every_cluster_is_drawn_equally_often_whatever_its_size() -> None:
    sizes = [1, 3, 50, 2000, 0, 446]  # one cluster is empty
    labels = np.repeat(np.arange(6), sizes)
    total = np.zeros(6)
    for epoch in range(20):
        total += np.bincount(labels[draw_uniform(labels, seed=0, epoch=epoch)], minlength=6)
    assert total[4] == 0
    np.testing.assert_allclose(total[[0, 1, 2, 3, 5]] / total.sum(), 0.2, atol=1e-3)


def test_members_of_a_cluster_are_drawn_evenly() -> None:
    labels = np.repeat([0, 1], [10, 990])
    counts = np.zeros(1000)
    for epoch in range(200):
        counts += np.bincount(draw_uniform(labels, seed=1, epoch=epoch), minlength=1000)
    np.testing.assert_allclose(counts[:10] / 200, 50, rtol=0.05)
    assert counts[10:].std() / counts[10:].mean() < 0.12
    assert counts[10:].min() > 0


def test_key_decides() -> None:
    labels = np.random.default_rng(0).integers(0, 9, 500)
    first = draw_uniform(labels, seed=3, epoch=4)
    assert np.array_equal(first, draw_uniform(labels, seed=3, epoch=4))
    assert not np.array_equal(first, draw_uniform(labels, seed=3, epoch=5))
    assert not np.array_equal(first, draw_uniform(labels, seed=4, epoch=4))


@given(labels=labellings)
def test_groups_are_the_clusters(labels: NDArray[np.int64]) -> None:
    groups = group_by_cluster(labels)
    expected = [np.flatnonzero(labels == cluster) for cluster in np.unique(labels)]
    assert [group.tolist() for group in groups] == [group.tolist() for group in expected]


@settings(max_examples=100, deadline=None)
@given(
    total=st.integers(1, 200),
    batch=st.sampled_from([4, 8, 64]),
    size=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_processes_share_every_batch_of_the_plan(
    total: int, batch: int, size: int, seed: int
) -> None:
    draws = np.random.default_rng(seed).integers(0, total, total)
    plan = plan_epoch(draws, batch)
    assert plan.ids.shape == (-(-total // batch), batch)
    assert np.array_equal(plan.images[plan.ids].ravel()[:total], draws)
    assert len(np.unique(plan.ids)) == plan.ids.size  # no two draws share their random crop
    shares = [plan.share(rank, size) for rank in range(size)]
    assert {share.shape for share in shares} == {(len(plan.ids), batch // size)}
    for step in range(len(plan.ids)):
        together = np.concatenate([share[step] for share in shares])
        assert sorted(together) == sorted(plan.ids[step])


def test_first_draw_of_an_image_keeps_its_index() -> None:
    plan = plan_epoch(np.array([2, 0, 2, 2]), 4)
    assert plan.ids.tolist() == [[2, 0, 4, 5]]
    assert plan.images.tolist() == [0, 1, 2, 3, 2, 2]


def test_weights_are_inverse_roots_of_sizes_and_their_mean_is_one() -> None:
    labels = np.repeat([0, 1, 4], [1, 4, 16])
    weights = loss_weights(labels, 6)
    assert weights[[2, 3, 5]].tolist() == [0, 0, 0]
    np.testing.assert_allclose(weights[[0, 1, 4]], np.array([1, 1 / 2, 1 / 4]) * 12 / 7, rtol=1e-6)
    assert weights[[0, 1, 4]].mean() == pytest.approx(1)
    equal = loss_weights(np.arange(30) % 5, 5)
    assert equal.tolist() == [1.0] * 5

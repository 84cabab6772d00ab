"""Purity of clusters against a loop, and an even choice among them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pretrain.deepcluster.watching.purity import Cluster, chosen, clusters_of, mean_purity

labels_40 = st.lists(st.integers(0, 6), min_size=40, max_size=40).map(np.array)


@settings(max_examples=60, deadline=None)
@given(labels=labels_40, truth=labels_40)
def test_purity_is_the_share_of_the_largest_class(
    labels: NDArray[np.int64], truth: NDArray[np.int64]
) -> None:
    found = {one.number: one for one in clusters_of(labels, truth)}
    assert sorted(found) == sorted(set(labels.tolist()))
    right = 0
    for number, one in found.items():
        counts = Counter(truth[labels == number].tolist())
        largest = max(counts.values())
        assert one.images == sum(counts.values())
        assert one.purity == pytest.approx(largest / one.images)
        assert one.majority == min(name for name, count in counts.items() if count == largest)
        right += largest
    assert mean_purity(list(found.values())) == pytest.approx(right / 40)


def test_without_labels_there_are_sizes() -> None:
    assert clusters_of(np.array([3, 0, 3]), None) == [Cluster(0, 1), Cluster(3, 2)]


def test_the_choice_is_even_from_the_purest_on() -> None:
    clusters = [Cluster(number, 5, purity=number / 10, majority=0) for number in range(11)]
    assert [one.number for one in chosen(clusters, 3)] == [10, 5, 0]
    assert [one.number for one in chosen(clusters, 99)] == list(range(10, -1, -1))
    sizes = [Cluster(number, number + 1) for number in range(5)]
    assert [one.number for one in chosen(sizes, 2)] == [4, 0]
    assert [one.number for one in chosen(sizes, 1)] == [4]

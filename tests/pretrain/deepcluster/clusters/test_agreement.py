"""NMI against scikit-learn and the paper's equation; sizes of clusters."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import normalized_mutual_info_score

from pretrain.deepcluster.clusters.agreement import Sizes, agreement, cluster_sizes, nmi


def test_sizes() -> None:
    labels = np.array([0, 0, 0, 2, 2, 5])
    assert cluster_sizes(labels, 7) == Sizes(1, 2.0, 3, 4)


labels_30 = st.lists(st.integers(0, 5), min_size=30, max_size=30).map(np.array)


@settings(max_examples=50, deadline=None)
@given(first=labels_30, second=labels_30)
def test_nmi_is_scikit_learns(first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    found = agreement("nmi", first, second)
    for name, mean in (("nmi", "geometric"), ("nmi_arithmetic", "arithmetic")):
        expected = normalized_mutual_info_score(first, second, average_method=mean)
        assert found[name] == pytest.approx(expected, abs=1e-9)
        assert 0 <= (found[name] or 0) <= 1


def test_nmi_is_the_papers() -> None:
    """I(A; B) / sqrt(H(A) H(B)): log 2 / sqrt(log 2 * log 4)."""
    found = agreement("nmi", np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3]))
    assert found["nmi"] == pytest.approx(math.sqrt(0.5))
    assert found["nmi_arithmetic"] == pytest.approx(2 / 3)
    same = nmi(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 2, 2, 1]))
    assert same == 1.0  # rounding says 1.0000000000000002


def test_nmi_of_renamed_clusters_constants_and_nothing() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 500)
    assert nmi(labels, (labels + 3) % 10) == pytest.approx(1.0)
    constant = np.zeros(500, dtype=np.int64)
    assert nmi(labels, constant) == 0.0
    assert nmi(constant, constant) == 1.0
    assert nmi(None, labels) is None

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.outcomes.ordering import narrow, ranks

CLOSE = st.sampled_from([1.0, 1 + 1e-12, 1 + 2e-12, 1 + 1e-9, 1 + 6e-8, 1 + 1.2e-7, 2.0, -3.0])


@given(arrays(np.float64, st.integers(1, 30), elements=CLOSE | st.floats(-1e3, 1e3)))
def test_narrow_scores_keep_every_order_and_every_tie(scores: np.ndarray) -> None:
    found = narrow(scores)
    assert found.dtype == np.float32
    assert (np.sign(found[:, None] - found) == np.sign(scores[:, None] - scores)).all()


def test_narrow_scores_are_the_nearest_but_for_neighbours() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 5000))
    found = narrow(scores)
    assert (found == scores.astype(np.float32)).mean() > 0.999
    np.testing.assert_allclose(found, scores, rtol=1e-6, atol=1e-12)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        narrow(np.array([1.0, 1e300]))


@given(arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 12)), elements=CLOSE))
def test_ranks_count_what_is_higher_and_what_ties_before(scores: np.ndarray) -> None:
    for row, found in zip(scores, ranks(scores), strict=True):
        for at, value in enumerate(row):
            assert found[at] == (row > value).sum() + (row[:at] == value).sum()

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.confidence.accuracy import resampled_accuracies
from reports.confidence.intervals import difference, holm, interval
from reports.confidence.resampling import block_counts, resample_counts


def test_accuracies_are_those_of_the_drawn_images() -> None:
    hits = np.random.default_rng(0).random(41) < 0.4
    counts = next(resample_counts(41, "ab" * 32, resamples=20))
    found = resampled_accuracies(hits, counts)
    for sample, copies in enumerate(counts.T):
        drawn = np.repeat(np.arange(41), copies)
        assert found[sample] == pytest.approx(100 * hits[drawn].mean(), rel=1e-12)


def test_an_interval_is_close_to_the_binomials_own() -> None:
    hits = np.arange(2000) < 1000
    blocks = resample_counts(2000, "12" * 32, 4000)
    found = interval(50.0, np.concatenate([resampled_accuracies(hits, x) for x in blocks]))
    assert found.half_width == pytest.approx(1.96 * 100 * np.sqrt(0.25 / 2000), rel=0.06)
    assert found.low < 50 < found.high


def test_an_interval_does_not_rise_with_its_samples() -> None:
    samples = np.random.default_rng(0).normal(50, 1, 4000)
    found, raised = (interval(50.0, samples + shift) for shift in (0.0, 3.0))
    assert (raised.low, raised.high) == pytest.approx((found.low, found.high), abs=1e-8)
    assert raised.low + raised.high == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("differ", [1, 2, 3])
def test_a_few_images_separate_no_two_rows(differ: int) -> None:
    """P(no image of 3 is drawn) is e**-3: 5 %, two-sided."""
    one, other = (np.arange(1000) < right for right in (500, 500 + differ))
    for list_of_images in range(12):  # of whose draws the samples' mean depends on
        counts = block_counts(1000, f"{list_of_images:064x}", 0, 1000)
        samples = [resampled_accuracies(hits, counts) for hits in (one, other)]
        found = difference(differ / 10, *samples)
        assert found.low == 0
        assert not found.separable
        assert found.p > 0.05


def test_an_interval_stays_within_percent() -> None:
    samples = np.random.default_rng(0).normal(99.5, 1, 1000)
    assert interval(99.5, samples).high == 100
    assert interval(0.1, samples - 99.4).low == 0


def test_a_row_is_not_separable_from_itself() -> None:
    samples = np.random.default_rng(0).normal(50, 1, 1000)
    found = difference(0.0, samples, samples)
    assert (found.low, found.high, found.p) == (0.0, 0.0, 1.0)
    assert not found.separable


def test_the_pairing_tells_apart_what_two_intervals_cannot() -> None:
    samples = np.random.default_rng(0).normal(50, 1, 1000)
    found = difference(0.5, samples, samples + 0.5)
    assert found.separable
    assert found.p == pytest.approx(2 / 1001)


def test_holm_is_the_textbooks_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_the_value_and_bonferronis(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, len(p_values) * p) + 1e-12

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from benchmarks.metrics import envelope_average_precision
from reports.confidence.average_precision import RankedClasses, resampled_maps
from reports.confidence.resampling import Counts, resample_counts


def sorted_again(scores: NDArray[np.float32], labels: NDArray[np.int8], copies: Counts) -> float:
    """The AP of one sample, written out and sorted; NaN without a positive."""
    drawn = np.repeat(np.arange(len(scores)), copies)
    drawn = drawn[labels[drawn] != -1]
    positive = labels[drawn] == 1
    if not positive.any():
        return float("nan")
    return float(envelope_average_precision(scores[drawn], positive))


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 6))
def test_equals_sorting_every_sample(seed: int, images: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct, images).astype(np.float32)  # with ties
    labels = rng.integers(-1, 2, images).astype(np.int8)
    labels[rng.integers(images)] = 1
    counts = next(resample_counts(images, f"{seed:064x}", resamples=8))
    found = RankedClasses(scores[:, None], labels[:, None]).average_precisions(counts)[0]
    expected = [sorted_again(scores, labels, column) for column in counts.T]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_every_image_once_is_the_figure_itself_and_the_area_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=200).astype(np.float32)
    labels = (rng.random(200) < 0.2).astype(np.int8)
    ranked = RankedClasses(scores[:, None], labels[:, None])
    found = ranked.average_precisions(np.ones((200, 1), np.uint16))[0, 0]
    precision, recall, _ = precision_recall_curve(labels, scores)
    envelope = np.maximum.accumulate(precision)
    assert found == pytest.approx(-np.diff(recall) @ envelope[:-1], abs=1e-12)


def test_a_class_without_a_positive_is_left_out_of_a_samples_mean() -> None:
    scores = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]], np.float32)
    labels = np.array([[1, 0], [0, 0], [0, 1]], np.int8)
    counts = np.array([[3, 1], [0, 1], [0, 1]], np.uint16)
    assert resampled_maps(RankedClasses(scores, labels), counts).tolist() == [100.0, 100.0]


def test_wrong_shapes_and_classes_without_positives_are_refused() -> None:
    with pytest.raises(ValueError, match="for labels"):
        RankedClasses(np.zeros((3, 1), np.float32), np.zeros((4, 1), np.int8))
    with pytest.raises(ValueError, match="at least one positive"):
        RankedClasses(np.zeros((3, 1), np.float32), np.zeros((3, 1), np.int8))

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks.metrics import (
    envelope_average_precision,
    ranked,
    step_average_precision,
    step_doubt,
    topk_correct,
    true_ranks,
)

cases = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=60).filter(
    lambda rows: any(positive for _, positive in rows)
)


def envelope_by_loops(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The definition: precision at every rank, made monotone from the right, integrated."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    recalls, precisions, found = [0.0], [0.0], 0
    for rank, i in enumerate(order, 1):
        found += bool(positive[i])
        recalls.append(found / positive.sum())
        precisions.append(found / rank)
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    area = 0.0
    for i in range(1, len(recalls)):
        area += (recalls[i] - recalls[i - 1]) * precisions[i]
    return area


@settings(deadline=None)
@given(cases)
def test_step_ap_is_scikit_learns_also_with_ties(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in rows])
    positive = np.array([label for _, label in rows])
    expected = average_precision_score(positive, scores)
    assert step_average_precision(scores, positive) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(cases)
def test_envelope_ap_is_the_definition_also_with_ties(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in rows])
    positive = np.array([label for _, label in rows])
    expected = envelope_by_loops(scores, positive)
    assert envelope_average_precision(scores, positive) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(cases, st.randoms(use_true_random=False))
def test_step_ap_ignores_the_order_of_rows(rows: list[tuple[int, bool]], random) -> None:  # noqa: ANN001
    shuffled = list(rows)
    random.shuffle(shuffled)
    values = [
        step_average_precision(np.array([float(s) for s, _ in r]), np.array([p for _, p in r]))
        for r in (rows, shuffled)
    ]
    assert values[0] == values[1]


def test_hand_worked() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    positive = np.array([False, True, True, False, True])
    # precisions at the positives 1/2, 2/3, 3/5; the envelope lifts the first to 2/3
    assert step_average_precision(scores, positive) == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)
    assert envelope_average_precision(scores, positive) == pytest.approx(
        (2 / 3 + 2 / 3 + 3 / 5) / 3
    )


def test_many_columns_are_each_scored_alone() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.standard_normal((3, 4, 200)), rng.random(200) < 0.1
    for score in (step_average_precision, envelope_average_precision):
        together = score(scores, positive)
        assert together.shape == (3, 4)
        assert together[2, 1] == score(scores[2, 1], positive)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        step_average_precision(np.array([bad, 1.0]), np.array([True, False]))


def test_no_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        envelope_average_precision(np.zeros(3), np.zeros(3, dtype=bool))


def test_topk_counts_the_labels_among_the_highest() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 3.0, 1.0]])
    labels = torch.tensor([0, 0, 0])
    assert topk_correct(logits, labels, (1, 2, 5)).tolist() == [1, 2, 3]


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 40))
def test_ranked_is_a_stable_descending_sort(seed: int, count: int, distinct: int) -> None:
    scores = np.random.default_rng(seed).integers(0, distinct, (2, 3, count)).astype(np.float64)
    assert ranked(scores).tolist() == np.argsort(-scores, axis=-1, kind="stable").tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("offset", "scale"),
    [
        (0.0, 1.0),
        (0.0, -1e-300),
        (0.0, 1e37),
        (1.0, 1e-13),
        (-1e9, 1e-6),
        (-1e9, 1e-30),
        (5e-324, 0),
    ],
)
def test_ranks_hold_to_the_last_bit(offset: float, scale: float, dtype: type) -> None:
    """Also where all scores are nearly alike, or as far apart as numbers are."""
    draws = np.random.default_rng(0).standard_normal((4, 1000))
    with np.errstate(over="ignore"):
        scores = (offset + scale * draws).astype(dtype)
        expected = np.argsort(-scores, axis=-1, kind="stable")
        assert np.array_equal(ranked(scores), expected)


def test_zeros_are_equal_whatever_their_sign() -> None:
    for scores in ([-0.0, 0.0, -0.0], [0.0, -0.0, 0.0], [-1.0, -0.0, 0.0], [0.0, 1.0, -0.0]):
        row = np.array(scores)
        assert ranked(row).tolist() == np.argsort(-row, kind="stable").tolist()


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1e-3, 0.05, 1.0]))
def test_no_error_moves_an_ap_by_more_than_its_doubt(seed: int, error: float) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 60))
    positive = rng.random(count) < 0.4
    positive[0] = True
    scores = rng.normal(size=(3, count))
    moved = scores + rng.choice([-error, 0.0, error], size=scores.shape)
    doubt = step_doubt(scores, positive, np.full(3, error))
    before, after = (step_average_precision(one, positive) for one in (scores, moved))
    assert (np.abs(after - before) <= doubt + 1e-12).all()
    if not error:
        assert not doubt.any()


def test_a_doubt_is_of_neighbours_alone() -> None:
    scores = np.array([[4.0, 3.0, 2.999, 1.0]])
    positive = np.array([True, False, True, True])
    found = step_doubt(scores, positive, np.array([0.001]))
    assert found == pytest.approx((2 / 2 - 2 / 3) / 3)  # the second may stand before the miss


def test_equal_scores_are_in_no_doubt() -> None:
    scores, positive = np.array([[2.0, 2.0, 1.0]]), np.array([True, False, True])
    assert not step_doubt(scores, positive, np.array([0.1])).any()
    assert step_doubt(scores, positive, np.array([0.6])).all()  # the last one may pass the miss


def test_a_row_without_numbers_is_not_within_the_top_5_of_three_classes() -> None:
    logits = torch.tensor([[0.0, np.nan, 1.0], [0.0, 2.0, 1.0]])
    assert true_ranks(logits, torch.tensor([2, 2])).tolist() == [5, 1]

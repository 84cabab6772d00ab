"""Neighbours and votes against a plain loop, ties included, and against scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.knn import neighbours
from benchmarks.knn.neighbours import highest, nearest
from benchmarks.knn.votes import percent, vote_ranks

CPU = torch.device("cpu")


def by_a_loop(bank: np.ndarray, queries: np.ndarray, k: int) -> list[list[int]]:
    """The earliest of the nearest: one query at a time, one row at a time."""
    found = []
    for query in queries:
        cosines = [float(row @ query) / np.linalg.norm(row) / np.linalg.norm(query) for row in bank]
        found.append(sorted(range(len(bank)), key=lambda i: (-round(cosines[i], 5), i))[:k])
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([3, 16, 64]))
def test_equal_rows_come_in_their_order_whatever_the_blocks(seed: int, k: int, size: int) -> None:
    """Signs alone make most rows tie, within blocks and across them."""
    rng = np.random.default_rng(seed)
    bank = rng.choice([-1.0, 1.0], (50, 4))  # four of a kind: cosines -1, -1/2, 0, 1/2, 1, exact
    queries = rng.choice([-1.0, 1.0], (7, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BANK_ROWS", size)
        patch.setattr(neighbours, "QUERY_ROWS", 3)
        found = nearest(bank, queries, k, CPU)
    assert found.rows.tolist() == by_a_loop(bank, queries, k)


@pytest.mark.parametrize(
    ("rows", "dimensions", "asked"), [(8200, 512, 200), (87, 512, 1), (50, 2048, 3)]
)
def test_equal_rows_are_equally_near_in_the_remainders_of_products(
    rows: int, dimensions: int, asked: int
) -> None:
    """Matrix products give them another last bit there: a later copy would then come first."""
    for seed in range(3):
        draws = torch.Generator().manual_seed(seed)
        bank = torch.randn(rows, dimensions, generator=draws)
        copies = rows // 4
        bank[-copies:] = bank[:copies]
        picked = torch.randint(0, copies, (asked,), generator=draws)
        queries = bank[picked] + 0.3 * torch.randn(asked, dimensions, generator=draws)
        found = nearest(bank, queries, 2, CPU)
        assert (found.cosines[:, 0] == found.cosines[:, 1]).all()
        assert (found.rows == torch.stack([picked, picked + rows - copies], 1)).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=9, max_size=9), min_size=1), st.integers(1, 9))
def test_the_highest_are_those_of_a_stable_sort(rows: list[list[int]], k: int) -> None:
    values = torch.tensor(rows).float()
    expected, order = values.sort(dim=1, descending=True, stable=True)
    found, places = highest(values, k)
    assert found.tolist() == expected[:, :k].tolist()
    assert places.tolist() == order[:, :k].tolist()


def clouds(dtype: str = "float32") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(7, 12))
    labels = rng.integers(0, 7, 700)
    points = (centres[labels] + 1.5 * rng.normal(size=(700, 12))).astype(dtype)
    return points[:500], labels[:500], points[500:], labels[500:]


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_top1_is_scikit_learns(temperature: float, dtype: str) -> None:
    bank, labels, queries, truth = clouds(dtype)

    def weights(distances: np.ndarray) -> np.ndarray:  # 1 - cosine
        return np.exp((1 - distances) / temperature)

    near = nearest(bank, queries, 50, CPU)
    found = vote_ranks(
        near, torch.from_numpy(labels), torch.from_numpy(truth), 7, (5, 50), temperature
    )
    for k in (5, 50):
        judge = KNeighborsClassifier(k, metric="cosine", weights=weights, algorithm="brute")
        judge.fit(bank.astype("float64"), labels)
        assert percent(found[k], 1) == 100 * judge.score(queries.astype("float64"), truth)


def test_ranks_are_a_plain_loops() -> None:
    bank, labels, queries, truth = clouds()
    near = nearest(bank, queries, 9, CPU)
    found = vote_ranks(near, torch.from_numpy(labels), torch.from_numpy(truth), 7, (9,), 0.07)[9]
    for row, true in enumerate(truth.tolist()):
        votes = [0.0] * 7
        for place, cosine in zip(near.rows[row].tolist(), near.cosines[row].tolist()):
            votes[int(labels[place])] += float(np.exp(cosine / 0.07))
        order = sorted(range(7), key=lambda label: (-votes[label], label))
        assert int(found[row]) == (order.index(true) if votes[true] else 7)


def test_a_class_without_a_vote_is_no_prediction() -> None:
    near = neighbours.Neighbours(torch.ones(1, 2), torch.tensor([[0, 1]]))
    labels, truth = torch.tensor([3, 3]), torch.tensor([0])
    found = vote_ranks(near, labels, truth, 5, (2,), 0.07)[2]
    assert found.tolist() == [5]
    assert percent(found, 5) == 0.0


def test_of_three_classes_one_without_a_vote_is_not_within_the_top_5() -> None:
    near = neighbours.Neighbours(torch.ones(2, 1), torch.tensor([[0], [1]]))
    labels, truth = torch.tensor([2, 0]), torch.tensor([2, 1])
    found = vote_ranks(near, labels, truth, 3, (1,), 0.07)[1]
    assert [percent(found, k) for k in (1, 5)] == [50.0, 50.0]


def test_a_k_that_is_named_twice_is_counted_once() -> None:
    bank, labels, queries, truth = clouds()
    near = nearest(bank, queries, 9, CPU)
    args = near, torch.from_numpy(labels), torch.from_numpy(truth), 7
    twice, once = (vote_ranks(*args, ks, 0.07) for ks in ((5, 9, 5), (5, 9)))
    assert {k: one.tolist() for k, one in twice.items()} == {k: x.tolist() for k, x in once.items()}


def test_equal_votes_go_to_the_lower_class() -> None:
    near = neighbours.Neighbours(torch.ones(1, 2), torch.tensor([[0, 1]]))
    labels = torch.tensor([2, 1])
    ranks = [vote_ranks(near, labels, torch.tensor([c]), 3, (2,), 0.07)[2].item() for c in (1, 2)]
    assert ranks == [0, 1]


def test_more_neighbours_than_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="6 neighbours of 5 rows"):
        nearest(np.ones((5, 2)), np.ones((1, 2)), 6, CPU)

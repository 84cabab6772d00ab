"""Products and searches in fp32 that must not mislead Newton's method."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.svm.solver.block import Block, Features, bytes_of
from benchmarks.svm.solver.convergence import LONGEST, line_search, search_alone
from benchmarks.svm.solver.kernel import eigenspace
from benchmarks.svm.solver.multiplying import one_thread_each
from tests.benchmarks.svm.svm_data import Recipe, kernel_of, make, mirrored


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As blocks are solved everywhere: BLAS threads on a busy machine wait for one another."""
    with one_thread_each():
        yield


def test_products_do_not_drown_in_the_mean_of_the_features() -> None:
    """Of an untrained trunk nearly all energy lies in the mean, and b has large entries."""
    features = 5 + 0.02 * make(Recipe(rows=300, dimensions=80)).train
    kernel = kernel_of(features)
    rows = np.arange(0, 300, 2)
    block = Block.gather(kernel, eigenspace(kernel, 16, 0), rows)
    vector = np.random.default_rng(0).normal(0, 100, len(rows)).astype(np.float32)
    exact = mirrored(block.exact(np.arange(len(rows))))
    expected = exact @ vector.astype(np.float64)
    ours = np.abs(block.multiply(vector) - expected).max()
    plain = np.abs(exact.astype(np.float32) @ vector - expected).max()
    assert ours < plain / 5
    np.testing.assert_allclose(block.multiply_exactly(vector.astype(np.float64)), expected)
    few = np.arange(3, 9)
    assert np.array_equal(mirrored(block.part(few).exact(np.arange(6))), exact[few][:, few])


def test_a_large_block_is_not_kept_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", 0)
    kernel = kernel_of(make(Recipe(rows=300, dimensions=80)).train)
    factor, rows = eigenspace(kernel, 16, 0), np.arange(0, 300, 2)
    whole = Block.gather(kernel, factor, rows)
    monkeypatch.setattr("benchmarks.svm.solver.block.WIDE_ROWS", 100)
    monkeypatch.setattr("benchmarks.svm.solver.block.STRIP", 40)
    large = Block.gather(kernel, factor, rows)
    assert large.inner.wide is None
    vector = np.random.default_rng(0).normal(size=len(rows))
    expected = whole.multiply_exactly(vector)
    np.testing.assert_allclose(large.multiply_exactly(vector), expected, rtol=1e-12)
    some = np.arange(5, 125)
    np.testing.assert_array_equal(mirrored(large.exact(some)), mirrored(whole.exact(some)))
    part = large.part(some)
    assert part.inner.wide is None
    np.testing.assert_array_equal(
        mirrored(part.exact(np.arange(9))), mirrored(whole.exact(some[:9]))
    )
    assert part.part(np.arange(50)).inner.wide is not None


def test_a_line_search_that_rounding_misleads_is_bounded() -> None:
    """An f that is not K b makes the objective fall for ever along a step."""
    labels = np.array([[1.0, -1.0, 1.0]])
    ridge = np.full_like(labels, 0.05)
    dual, value = np.zeros_like(labels), 5 * labels
    length = line_search(labels, ridge, dual, value, labels, -1e-3 * labels)
    assert 0 <= length.item() <= LONGEST
    one = (each[0] for each in (labels, ridge, dual, value, labels, -1e-3 * labels))
    assert 0 <= search_alone(*one) <= LONGEST


@given(st.integers(0, 10_000))
def test_a_search_alone_is_that_of_a_batch(seed: int) -> None:
    """And where it is no full step, no point nearby has a lower objective."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 30))
    half = rng.standard_normal((count, count + 3))
    kernel = half @ half.T
    labels = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    ridge = rng.uniform(0.01, 5, count)
    dual, shift = rng.standard_normal((2, count)) / count

    def slope(length: float) -> float:
        moved = dual + length * shift
        slack = (1 - labels * (kernel @ moved)).clip(min=0)
        return float(shift @ kernel @ (moved - labels * slack / ridge))

    shift *= -np.sign(slope(0.0))
    one = (labels, ridge, dual, kernel @ dual, shift, kernel @ shift)
    found = search_alone(*one)
    batch = line_search(*(np.asarray(array)[None] for array in one)).item()
    assert found == pytest.approx(batch, rel=1e-6)
    if found < 0.99 * LONGEST:
        assert abs(slope(found)) <= 1e-2 * abs(slope(0.0)) + 1e-9


def test_a_block_of_features_is_that_of_their_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products, systems of active rows at costs that change, and parts of it, in strips."""
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.solver.block.STRIP", 40)
    features = make(Recipe(rows=300, dimensions=20)).train
    kept = kernel_of(features)
    monkeypatch.setattr("benchmarks.svm.solver.rows.MANY_ROWS", 0)
    kernel = kernel_of(features)
    assert kernel.gram is None
    factor, rows = eigenspace(kernel, 16, 0), np.arange(0, 300, 2)
    whole, expected = (Block.gather(one, factor, rows) for one in (kernel, kept))
    assert whole.factored
    assert not expected.factored
    rng = np.random.default_rng(0)
    vector = rng.normal(size=len(rows))
    np.testing.assert_allclose(
        whole.multiply_exactly(vector), expected.multiply_exactly(vector), rtol=1e-6, atol=1e-5
    )
    weights, active = rng.choice([1.0, 2.0], len(rows)), rng.random(len(rows)) < 0.6
    near = np.arange(10, 120)
    part, its = whole.part(near), expected.part(near)
    assert part.factored
    for block, other, some in ((whole, expected, slice(None)), (part, its, near)):
        for cost in (0.5, 0.5, 100.0):
            active ^= rng.random(len(rows)) < 0.1
            there, weigh, rest = active[some], weights[some], vector[some]
            found = block.solve(there, weigh, cost, rest)
            assert not found[~there].any()
            system = mirrored(other.exact(np.flatnonzero(there)))
            system[np.diag_indices(len(system))] += 1 / (2 * cost * weigh[there])
            np.testing.assert_allclose(
                system @ found[there], rest[there], atol=1e-4 * np.abs(rest).max()
            )
    small = whole.part(np.arange(9))
    assert not small.factored
    np.testing.assert_allclose(
        mirrored(small.exact(np.arange(9))),
        mirrored(expected.exact(np.arange(9))),
        rtol=1e-6,
        atol=1e-6,
    )


def test_a_part_takes_the_sum_of_its_rows_along() -> None:
    """Also where rows that were active are not in it."""
    rows = np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32)
    whole, plain = Features(rows, np.ones(5)), Features(rows[10:], np.ones(5))
    active, remainder = np.arange(60) % 3 > 0, np.linspace(-1, 1, 60)
    whole.solve(active, np.ones(60), 2.0, remainder)
    part = whole.part(np.arange(10, 60))
    assert isinstance(part, Features)
    assert part.sum is not None
    for one in (part, plain):
        found = one.solve(active[10:], np.ones(50), 2.0, remainder[10:])
        np.testing.assert_allclose(
            found, plain.solve(active[10:], np.ones(50), 2.0, remainder[10:]), atol=1e-12
        )
    again = whole.solve(active, np.ones(60), 2.0, remainder)  # which gave its sum away
    fresh = Features(rows, np.ones(5)).solve(active, np.ones(60), 2.0, remainder)
    np.testing.assert_allclose(again, fresh, atol=1e-12)


def test_a_sum_that_drifted_is_made_anew() -> None:
    """And the answer is that of one that did not."""
    rows = np.random.default_rng(2).normal(size=(80, 6)).astype(np.float32)
    active, weights, remainder = np.arange(80) % 4 > 0, np.ones(80), np.linspace(-1, 1, 80)
    fresh, drifted = Features(rows, np.ones(6)), Features(rows, np.ones(6))
    expected = fresh.solve(active, weights, 10.0, remainder)
    drifted.solve(active, weights, 10.0, remainder)
    assert drifted.sum is not None
    drifted.sum -= 1e3 * np.eye(7)  # no sum of squares any more
    np.testing.assert_allclose(drifted.solve(active, weights, 10.0, remainder), expected, atol=1e-9)


def test_what_a_block_takes_is_by_its_rows_and_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.solver.block.WIDE_ROWS", 30)
    kept = kernel_of(make(Recipe(rows=300, dimensions=40)).train)
    monkeypatch.setattr("benchmarks.svm.solver.rows.MANY_ROWS", 0)
    narrow = kernel_of(make(Recipe(rows=300, dimensions=40)).train)
    assert [bytes_of(kept, rows) for rows in (20, 200)] == [24 * 20**2, 8 * 200**2]
    assert [bytes_of(narrow, rows) for rows in (20, 35)] == [24 * 20**2, 16 * 35**2]
    assert bytes_of(narrow, 200) == 10 * 200 * 40 + 24 * 41**2

"""Centred rows and their products, against plain NumPy."""

from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from benchmarks.svm.solver.rows import centred, is_narrow, training_rows
from slurm.errors import UserError
from tests.benchmarks.svm.svm_data import Recipe, kernel_of, make

FEATURES = make(Recipe(rows=300, dimensions=50)).train


@pytest.mark.parametrize("limit", [300, 299])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_normalised_and_centred(
    limit: int, dtype: str, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In strips that do not divide the rows, and in either precision of the products."""
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", limit)
    features = np.asarray(FEATURES, dtype=dtype, order=order)
    with training_rows(features, 1e-5) as found:
        pass
    plain = features.astype(np.float64)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True) + 1e-5
    mean = plain.mean(0)
    single = limit < 300
    assert found.gram.dtype == found.rows.dtype == (np.float32 if single else np.float64)
    close = 1e-6 if single else 1e-14
    np.testing.assert_allclose(found.mean, mean, atol=1e-14)
    np.testing.assert_allclose(found.rows, plain - mean, atol=close)
    np.testing.assert_allclose(found.lift, (plain - mean) @ mean, atol=1e-13)
    np.testing.assert_allclose(found.gram, (plain - mean) @ (plain - mean).T, atol=close)
    assert np.array_equal(found.gram, found.gram.T)
    rows, lift = centred(features[:7], 1e-5, mean, np.float64)
    np.testing.assert_allclose(rows, (plain - mean)[:7], atol=1e-14)
    few = found.multiplier.products(found.rows, rows.astype(found.rows.dtype))
    np.testing.assert_allclose(few, found.gram[:, :7], atol=close)
    np.testing.assert_allclose(lift, found.lift[:7], atol=1e-14)


def test_threads_of_numpy_are_as_before() -> None:
    before = threadpool_info()
    with pytest.raises(ValueError, match="of the body"), training_rows(FEATURES, 1e-5):
        raise ValueError("of the body")
    assert threadpool_info() == before


def test_products_that_do_not_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is multiplied; 300 x 350 and 80 x 350 values of fp64."""
    kernel = kernel_of(FEATURES)
    monkeypatch.setattr("benchmarks.svm.solver.rows.free_bytes", lambda: 8 * 300 * 350 - 1)
    with (
        pytest.raises(UserError, match=r"300 rows with 300 of 50 features take 0\.0 GiB, and 0\.0"),
        training_rows(FEATURES, 1e-5),
    ):
        pass
    kernel.test_rows(FEATURES[:80])
    monkeypatch.setattr("benchmarks.svm.solver.rows.free_bytes", lambda: 8 * 80 * 350 - 1)
    with pytest.raises(UserError, match=r"300 rows with 80 of 50 features.*--solver liblinear"):
        kernel.test_rows(FEATURES[:80])
    monkeypatch.setattr("benchmarks.svm.solver.rows.free_bytes", lambda: None)
    kernel.test_rows(FEATURES[:80])


@pytest.mark.parametrize("threads", [1, 2, 3, None])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 8, 11])
def test_products_of_any_width(count: int, threads: int | None) -> None:
    kernel = kernel_of(FEATURES)
    vectors = np.random.default_rng(count).standard_normal((count, 300)).astype(np.float32)
    expected = vectors.astype(np.float64) @ kernel.gram.astype(np.float64)
    np.testing.assert_allclose(kernel.product(vectors, threads), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "width", "narrow"),
    [
        (50_000, 2048, True),
        (5011, 8192, False),
        (5011, 512, False),
        (5011, 256, True),
        (12_000, 2048, False),
        (2500, 10, False),  # of which products are of fp64
    ],
)
def test_products_of_many_narrow_rows_are_not_kept(rows: int, width: int, narrow: bool) -> None:
    assert is_narrow(rows, width) is narrow


def test_narrow_rows_ask_for_a_gpu_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.solver.rows.MANY_ROWS", 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="cuda"), training_rows(FEATURES, 1e-5, "cuda"):
        pass

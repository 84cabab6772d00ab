"""Whitening against NumPy in fp64, where fp32 sums of squares would drown, and in processes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pretrain.deepcluster.clusters import whitening
from pretrain.deepcluster.clusters.whitening import whiten
from slurm.errors import UserError
from tests import processes

ROOT = Path(__file__).parents[4]
CPU = torch.device("cpu")


def assert_white(found: NDArray[np.float32], close: float = 1e-5) -> None:
    np.testing.assert_allclose(found.mean(0, dtype=np.float64), 0, atol=close)
    covariance = np.cov(found.T.astype(np.float64), bias=True)
    np.testing.assert_allclose(covariance, np.eye(found.shape[1]), atol=close)


def mixed(rows: int, width: int, mean: float = 5.0, seed: int = 3) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + mean).astype(
        np.float32
    )


@pytest.mark.parametrize("block", [100, 8192])
def test_the_leading_directions_are_numpys(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whitening, "CORE_BLOCK", block)
    monkeypatch.setattr(whitening, "SAMPLE", block)
    features = mixed(4000, 16)
    found = whiten(features, 6, CPU)
    assert found.shape == (4000, 6)
    assert found.dtype == np.float32
    assert_white(found)
    centred = features - features.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(centred.T, bias=True))
    expected = (centred @ vectors[:, -6:] / np.sqrt(values[-6:]))[:, ::-1]
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)


def test_a_large_mean_drowns_nothing() -> None:
    """A thousand spreads away from zero."""
    spread = mixed(3000, 24, mean=0.0)
    found = whiten(spread + np.float32(1000 * spread.std()), 12, CPU)
    assert_white(found)


def test_more_rows_than_a_sample_of_them() -> None:
    assert_white(whiten(mixed(40_000, 16), 16, CPU))


@settings(max_examples=25, deadline=None)
@given(rank=st.integers(1, 30), scale=st.sampled_from([1e-9, 1.0, 1e9]), seed=st.integers(0, 99))
def test_the_rank_is_known(rank: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(200, rank)) @ rng.normal(size=(rank, 64)) * scale
    found = whiten(features.astype(np.float32), rank, CPU)
    assert_white(found)
    with pytest.raises(UserError, match=f"vary in {rank} directions, fewer than the {rank + 1}"):
        whiten(features.astype(np.float32), rank + 1, CPU)


def test_fp16_is_whitened_as_the_same_values_of_fp32() -> None:
    features = mixed(3000, 24).astype(np.float16)
    assert np.array_equal(whiten(features, 12, CPU), whiten(features.astype(np.float32), 12, CPU))


@settings(max_examples=25, deadline=None)
@given(
    rank=st.integers(1, 30), scale=st.sampled_from([1e-2, 1.0, 1e3]), mean=st.sampled_from([0, 3])
)
def test_the_rank_of_fp16_is_judged_by_its_own_rounding(rank: int, scale: float, mean: int) -> None:
    """What rounding adds is no direction, which to fp32 it would be."""
    rng = np.random.default_rng(rank)
    features = rng.normal(size=(400, rank)) @ rng.normal(size=(rank, 64)) + mean
    kept = (features * scale).astype(np.float16)
    assert_white(whiten(kept, rank, CPU), 1e-3)
    with pytest.raises(UserError, match=f"vary in {rank} directions, fewer than the {rank + 1}"):
        whiten(kept, rank + 1, CPU)
    assert whiten(kept.astype(np.float32), rank + 1, CPU).shape == (400, rank + 1)


def test_a_channel_far_away_does_not_drown_the_others() -> None:
    """What its values are rounded by is no part of the directions in which it has none."""
    features = mixed(3000, 64, mean=0.0) * np.float32(2e-3) + np.float32(0.05)
    features[:, 0] = np.random.default_rng(0).normal(30, 1, 3000)
    for kept in (features, features.astype(np.float16)):
        assert_white(whiten(kept, 16, CPU), 1e-3)


def test_fp16_near_zero_has_steps_of_its_own() -> None:
    tiny = (mixed(400, 16, mean=0.0) * np.float32(1e-8)).astype(np.float16)
    with pytest.raises(UserError, match=r"in 0 directions.* with --features fp32.* or with more"):
        whiten(tiny, 2, CPU)


def test_features_whose_squares_overflow_are_refused() -> None:
    with pytest.raises(UserError, match="their squares overflow: training has diverged"):
        whiten(mixed(300, 8) * np.float32(1e20), 4, CPU)


def test_dead_channels_and_equal_images() -> None:
    features = np.zeros((400, 128), np.float32)
    features[:, ::8] = np.abs(mixed(400, 16))
    assert_white(whiten(features, 16, CPU))
    with pytest.raises(UserError, match="vary in 16 directions, fewer than the 20 of PCA"):
        whiten(features, 20, CPU)
    with pytest.raises(UserError, match="vary in 0 directions"):
        whiten(np.tile(features[:1] + np.float32(0.3), (300, 1)), 2, CPU)


def test_a_memory_map_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    features = mixed(500, 12)
    path = tmp_path / "features.npy"
    np.save(path, features)
    found = whiten(np.load(path, mmap_mode="r"), 4, CPU)
    assert np.array_equal(found, whiten(features, 4, CPU))
    assert np.array_equal(np.load(path), features)


def test_processes_whiten_their_rows_as_one_would(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
import numpy as np, torch
from pretrain.deepcluster.clusters import assignment
from slurm.distributed import find_world, process_group
folder, world, cpu = Path(sys.argv[1]), find_world(), torch.device("cpu")
with process_group(world, cpu):
    path = folder / "features.host.1.npy"
    found = assignment.assign(path, clusters=5, pca=4, seed=0, world=world, device=cpu)
    np.save(folder / f"labels{world.rank}.npy", found.labels)
"""
    np.save(tmp_path / "features.host.1.npy", mixed(501, 12))
    (tmp_path / "program.py").write_text(program)
    for count in (1, 2):
        done = processes.run(tmp_path / "program.py", tmp_path, processes=count)
        assert done.returncode == 0, done.stderr
        if count == 1:
            alone = np.load(tmp_path / "labels0.npy")
    first, second = (np.load(tmp_path / f"labels{rank}.npy") for rank in range(2))
    assert np.array_equal(first, alone)
    assert np.array_equal(second, alone)
    assert not list(tmp_path.glob("whitened*"))

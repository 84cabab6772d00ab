"""The file that processes fill with features, stripe by stripe."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.deepcluster.clusters import feature_file
from slurm.errors import UserError


@pytest.mark.parametrize("size", [1, 3])
def test_stripes_make_one_array_that_numpy_reads(tmp_path: Path, size: int) -> None:
    values = np.random.default_rng(0).normal(size=(10, 7)).astype(np.float32)
    path = tmp_path / "state" / "features.npy"
    feature_file.create(path, 10, 7)
    for rank in reversed(range(size)):  # in whatever order
        first, last = feature_file.stripe(10, rank, size)
        with feature_file.RowWriter(path, first) as rows:
            for start in range(first, last, 2):
                rows.write(values[start : min(start + 2, last)])
    assert np.array_equal(np.load(path), values)
    mapped = feature_file.read(path)
    assert isinstance(mapped, np.memmap)
    assert mapped.flags.c_contiguous
    assert mapped.dtype == np.float32


def test_half_the_space_as_fp16(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    for precision, kind in (("fp32", np.float32), ("fp16", np.float16)):
        path = tmp_path / precision
        feature_file.create(path, 40, 7, precision)
        with feature_file.RowWriter(path, 20) as last, feature_file.RowWriter(path, 0) as first:
            last.write(values[20:])
            first.write(values[:20])
        assert feature_file.read(path).dtype == kind
        assert np.array_equal(np.load(path), values.astype(kind))
    sizes = [(tmp_path / precision).stat().st_size - 128 for precision in ("fp32", "fp16")]
    assert sizes == [40 * 7 * 4, 40 * 7 * 2]


def test_what_is_too_large_for_fp16_is_refused_and_nan_is_not(tmp_path: Path) -> None:
    """NaN is said to be what it is, when the features are looked at."""
    feature_file.create(tmp_path / "x", 2, 2, "fp16")
    with feature_file.RowWriter(tmp_path / "x", 0) as rows:
        rows.write(np.array([[65504.0, np.nan]], np.float32))
        with pytest.raises(UserError, match=r"up to 7e\+04 .*limit is 65504\.0: .*--features fp32"):
            rows.write(np.array([[-7e4, 1.0]], np.float32))
    feature_file.create(tmp_path / "y", 1, 2)
    with feature_file.RowWriter(tmp_path / "y", 0) as rows:
        rows.write(np.array([[-7e4, np.inf]], np.float32))


@given(rows=st.integers(0, 500), size=st.integers(1, 16))
def test_stripes_share_all_rows_evenly(rows: int, size: int) -> None:
    stripes = [feature_file.stripe(rows, rank, size) for rank in range(size)]
    assert [row for first, last in stripes for row in range(first, last)] == list(range(rows))
    lengths = [last - first for first, last in stripes]
    assert max(lengths) - min(lengths) <= 1


def test_files_of_dead_processes_are_removed_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = platform.node()
    dead = tmp_path / f"features.{host}.{child.pid}.npy"
    living = feature_file.feature_path(tmp_path)
    elsewhere = tmp_path / f"features.another.host.{child.pid}.npy"
    old_elsewhere = tmp_path / "features.another.host.1.npy"
    state = tmp_path / "deepcluster.pt"
    every = (dead, living, elsewhere, old_elsewhere, state)
    for path in every:
        path.write_bytes(b"x")
    for path in (old_elsewhere, state):
        os.utime(path, (0, 0))
    feature_file.remove_abandoned(tmp_path)
    left = {path for path in every if path.exists()}
    assert left == {living, elsewhere, state}

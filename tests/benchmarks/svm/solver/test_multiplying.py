"""Which part of the machine multiplies, and that its strips make the whole product."""

import os
import sys

import numpy as np
import pytest
import torch

from benchmarks.devices import resolve_device
from benchmarks.svm.solver import multiplying
from benchmarks.svm.solver.multiplying import Multiplier, gram_on_gpu
from slurm.errors import UserError

GPU = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # strips are the same on both
VOC07 = (5011, 4952, 8192)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU with room, as far as is asked before anything is multiplied."""
    monkeypatch.setattr(multiplying, "DRIVERS", (os.devnull,))
    monkeypatch.setattr(
        "benchmarks.devices.resolve_device",
        lambda name: torch.device("cpu" if name == "cpu" else "cuda"),
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (80 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)


@pytest.mark.usefixtures("gpu")
def test_auto_takes_the_gpu_where_cores_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {}
    for cores in (1, 2, 16, 64):
        monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
        multiplier = Multiplier("auto")
        taken[cores] = multiplier.gpu(*VOC07) is not None
        assert multiplier.used_gpu == taken[cores]
    assert taken == {1: True, 2: True, 16: False, 64: False}


@pytest.mark.usefixtures("gpu")
def test_auto_leaves_small_products_to_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert Multiplier("auto").gpu(500, 500, 512) is None
    assert Multiplier("cpu").gpu(*VOC07) is None
    assert Multiplier("cuda").gpu(500, 500, 512) is not None


@pytest.mark.usefixtures("gpu")
def test_auto_leaves_to_the_cores_what_a_gpu_has_no_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (100 << 20, 80 << 30))
    multiplier = Multiplier("auto")
    assert multiplier.gpu(*VOC07) is None
    assert not multiplier.used_gpu


@pytest.mark.usefixtures("gpu")
@pytest.mark.skipif(sys.platform != "linux", reason="drivers have other files elsewhere")
def test_without_a_driver_nobody_asks_torch_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(multiplying, "DRIVERS", ("/dev/none-such",))
    assert Multiplier("auto").gpu(*VOC07) is None
    assert Multiplier("cuda").gpu(*VOC07) is not None


def test_cuda_that_is_not_there_is_a_users_error() -> None:
    if torch.cuda.is_available():
        assert Multiplier("cuda").gpu(10, 10, 10) == resolve_device("cuda")
    else:
        with pytest.raises(UserError, match="no usable GPU"):
            Multiplier("cuda").gpu(10, 10, 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strips_of_a_gpu_make_the_whole_product(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplying, "GPU_STRIP", 32)
    rng = np.random.default_rng(0)
    rows, others = (rng.standard_normal((n, 70)).astype(dtype) for n in (101, 45))
    close = 1e-4 if dtype == np.float32 else 1e-12
    gram = np.empty((101, 101), dtype)
    gram_on_gpu(GPU, rows, gram)
    np.testing.assert_allclose(gram, rows @ rows.T, atol=close)
    assert np.array_equal(gram, gram.T)
    multiplier = Multiplier("cpu")
    on_cores = multiplier.products(rows, others)
    monkeypatch.setattr(multiplier, "gpu", lambda *shape: GPU)
    on_gpu = multiplier.products(rows, others)
    np.testing.assert_allclose(on_gpu, rows @ others.T, atol=close)
    np.testing.assert_allclose(on_cores, on_gpu, atol=close)
    assert not torch.backends.cuda.matmul.allow_tf32

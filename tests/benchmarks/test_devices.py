"""Which device --device means, with and without GPUs."""

import pytest
import torch

from benchmarks.devices import resolve_device
from slurm.errors import UserError


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="no usable GPU; use --device cpu"):
        resolve_device("cuda")


def test_with_two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto", 1) == torch.device("cuda", 1)
    assert resolve_device("cpu", 1) == torch.device("cpu")
    with pytest.raises(UserError, match="GPU 2 was asked for, but this machine has 2"):
        resolve_device("cuda", 2)


def test_unknown_device() -> None:
    with pytest.raises(UserError, match="unknown device 'tpu'"):
        resolve_device("tpu")

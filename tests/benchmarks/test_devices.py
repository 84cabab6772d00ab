"""Which device --device means, with and without GPUs, and how much memory is free."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import devices
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


def test_free_memory_is_that_of_the_machine() -> None:
    """As the system says it, in a session without a limit of its own."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemTotal"))
    free = devices.free_bytes()
    assert free is not None
    assert 0 < free < total


@pytest.mark.parametrize("version", [devices.V1, devices.V2])
def test_a_control_group_leaves_less(version: Any, tmp_path: Path) -> None:
    group = tmp_path / "slurm/job_7"
    group.mkdir(parents=True)
    (group / version.limit).write_text("5000\n")
    (group / version.used).write_text("3000\n")
    (group / "memory.stat").write_text(f"cache 7\n{version.reclaimable} 400\n")
    here = version._replace(folder=tmp_path)
    assert here.left(Path("slurm/job_7")) == [2400]
    (group / version.limit).write_text("max\n")
    assert here.left(Path("slurm/job_7")) == []
    assert here.left(Path("slurm/job_8")) == []

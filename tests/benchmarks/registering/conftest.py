"""A small trunk in files, and the command in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from benchmarks.registry import main
from slurm.cli import run_command

ARCH = "test_resnet"
Answer = tuple[int | str | None, str, str]


def trunk(seed: int) -> dict[str, Tensor]:
    """The tensors of a small network."""
    torch.manual_seed(seed)
    state: dict[str, Tensor] = timm.create_model(ARCH, features_only=True).state_dict()
    return state


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Exit code, stdout and stderr of the command."""

    def run(*arguments: object, zoo: Path) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_command(main, [*map(str, arguments), "--zoo", str(zoo)])
        return stop.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint file."""
    path = tmp_path / "net.pth"
    torch.save({"state_dict": trunk(0)}, path)
    return path

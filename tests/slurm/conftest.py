"""A run on a scheduler of our own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.fake_slurm import Clock, FakeSlurm, Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    slurm, clock = FakeSlurm(), Clock()
    monkeypatch.setattr("slurm.launch.submitter.submit_array", slurm.submit_array)
    for module in ("watch", "submitter"):
        monkeypatch.setattr(f"slurm.launch.{module}.time", clock)
    monkeypatch.setattr("slurm.launch.submitter.say", lambda line: None)
    return Lab(slurm, clock, tmp_path / "runs")


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The key that seals items is a test's own, also in the processes that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield

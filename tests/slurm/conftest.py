"""A run on a scheduler of our own."""

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

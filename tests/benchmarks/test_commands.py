"""The end that all benchmark commands share."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks.commands import finish_command
from slurm.cli import add_common_flags
from slurm.errors import SweepError, UserError
from slurm.sweep import Item, Resources
from tests.reports.conftest import Zoo


@dataclass(frozen=True)
class Measure:
    """A goal that leaves a record, or fails."""

    zoo: Path
    name: str
    error: Exception | None = None

    stage: ClassVar[str] = "probe"
    needs: ClassVar[tuple[Item, ...]] = ()
    resources: ClassVar[Resources] = Resources()

    @property
    def key(self) -> str:
        return f"{self.name}/imagenet_linear"

    @property
    def result(self) -> Path:
        folder = self.zoo / "results" / self.name / "imagenet_linear"
        return folder / "resnet50_mhead_linear-8xb32-steplr-90e_in1k-0.json"

    def done(self) -> bool:
        return self.result.exists()

    def run(self) -> None:
        if self.error:
            raise self.error
        Zoo(self.zoo).probe(self.name, {"feature1": 12.34})


@pytest.mark.parametrize("error", [UserError("no such image; replace it"), RuntimeError("broken")])
def test_what_succeeded_is_printed_beside_the_reasons(
    tmp_path: Path, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_common_flags(parser)
    args = parser.parse_args(["--zoo", str(tmp_path), "--json", str(tmp_path / "a.json")])
    goals = [Measure(tmp_path, "bad", error), Measure(tmp_path, "good")]
    with pytest.raises((UserError, SweepError), match=str(error)):
        finish_command(args, goals)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"good imagenet_linear: feature1 12.34 [{goals[1].result}]"
    assert not (tmp_path / "a.json").exists()  # which would be of another suite

"""The end that all benchmark commands share: what succeeded, and what a reader must know."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR, IMAGENET_LINEAR
from benchmarks.commands import MOST_NOTES, finish_command, notes_of
from benchmarks.protocols import LinearProtocol
from benchmarks.results import Checkpoint, Head, ProbeRecord, Split
from slurm.cli import add_common_flags
from slurm.errors import SweepError, UserError
from slurm.sweep import Item, Resources
from tests.reports.conftest import IMAGES, Zoo


def record(name: str, *notes: str) -> ProbeRecord:
    protocol = IMAGENET_LINEAR
    return ProbeRecord(
        benchmark=protocol.benchmark,
        protocol=protocol.name,
        protocol_version=1,
        variant=protocol.variant,
        settings=msgspec.to_builtins(protocol),
        checkpoint=Checkpoint(name, "resnet18", "1234"),
        data={},
        seed=0,
        device="cpu",
        threads=1,
        versions={},
        commit=None,
        host="alpha",
        started="2024-01-01T00:00:00+00:00",
        seconds=1.0,
        notes=notes,
        heads={"feature1": Head(50.0, 60.0, 50.0, 1, (50.0,))},
        epochs=1,
    )


def test_a_note_is_said_once_for_all_that_share_it() -> None:
    found = [record("a", "8 processes", "half"), record("b", "8 processes"), record("c")]
    assert notes_of(found) == [
        "note on a imagenet_linear and 1 more: 8 processes",
        "note on a imagenet_linear: half",
    ]
    assert notes_of([record("c")]) == []


def test_many_and_long_notes_are_cut_and_counted() -> None:
    lines = notes_of([record("a", *(f"{number} {'x' * 5000}" for number in range(99)))])
    assert len(lines) == MOST_NOTES + 1
    assert lines[-1] == f"{99 - MOST_NOTES} more notes stand in the records"
    assert all(len(line) < 1100 for line in lines)


@dataclass(frozen=True)
class Measure:
    """A goal that leaves a record, or fails."""

    zoo: Path
    name: str
    error: Exception | None = None

    stage: ClassVar[str] = "probe"
    needs: ClassVar[tuple[Item, ...]] = ()
    protocol: ClassVar[LinearProtocol] = DIGITS_IMAGENET_LINEAR
    measured_on: ClassVar[dict[str, Split]] = {}
    resources: ClassVar[Resources] = Resources()
    protocol: ClassVar[LinearProtocol] = IMAGENET_LINEAR
    measured_on: ClassVar[dict[str, Split]] = IMAGES

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

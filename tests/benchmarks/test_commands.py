"""The end that all benchmark commands share: what succeeded, and what a reader must know."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from benchmarks.__main__ import main as suite
from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR, IMAGENET_LINEAR
from benchmarks.commands import MOST_NOTES, finish_command, notes_of
from benchmarks.knn.__main__ import main as knn
from benchmarks.linear_probe import main as linear_probe
from benchmarks.logreg.__main__ import main as logreg
from benchmarks.low_shot_svm import main as low_shot_svm
from benchmarks.protocols import LinearProtocol
from benchmarks.results import Checkpoint, Head, ProbeRecord, Split
from benchmarks.voc_svm import main as voc_svm
from slurm.cli import add_common_flags
from slurm.errors import SweepError, UserError
from slurm.sweep import Item, Resources
from tests.benchmarks.voc_data import write_voc
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


@pytest.mark.parametrize(
    ("command", "words", "stages"),
    [
        (knn, "--k 5 --data {0}/imagenet", ["features", "knn"]),
        (logreg, "--data {0}/imagenet", ["features", "logreg"]),
        (linear_probe, "--protocol digits_linear-4e_in1k --data {0}/imagenet", ["probe"]),
        (voc_svm, "--layers feature5 --data {0}/VOCdevkit/VOC2007", ["extract", "voc_svm"]),
        (low_shot_svm, "--shots 1 --data {0}/VOCdevkit/VOC2007", ["extract", "low_shot_svm"]),
        (suite, "--suite digits --only imagenet_linear,voc07_svm --data {0}", None),
    ],
    ids=["knn", "logreg", "linear_probe", "voc_svm", "low_shot_svm", "suite"],
)
def test_a_dry_run_leaves_its_plan_as_json(
    command: Callable[[list[str]], None],
    words: str,
    stages: list[str] | None,
    tmp_path: Path,
    tiny_imagenet: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "imagenet").symlink_to(tiny_imagenet)
    write_voc(tmp_path / "VOCdevkit" / "VOC2007", {"trainval": 48, "test": 20})
    zoo = tmp_path / "zoo"
    flags = ["--ckpt", "random:resnet18", "--zoo", str(zoo), "--device", "cpu", "--dry-run"]
    command([*flags, *words.format(tmp_path).split(), "--json", "-"])
    said = capsys.readouterr()
    plan = json.loads(said.out)
    assert plan["dry_run"] is True
    assert [one["done"] for one in plan["results"]] == [False] * len(plan["results"])
    assert all(one["path"].startswith(f"{zoo}/results/random-") for one in plan["results"])
    found = [stage["stage"] for stage in plan["stages"]]
    assert stages is None or found[: len(stages)] == stages
    assert f"0 of {len(plan['results'])} results are done" in said.err
    assert all(key in said.err for stage in plan["stages"] for key in stage["items"])
    command([*flags, *words.format(tmp_path).split(), "--json", str(tmp_path / "plan.json")])
    assert json.loads((tmp_path / "plan.json").read_text()) == plan
    assert said.err.endswith(capsys.readouterr().out)
    assert not zoo.exists()


def test_a_plan_says_what_is_done_already(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_common_flags(parser)
    args = parser.parse_args(["--zoo", str(tmp_path), "--dry-run", "--json", "-"])
    goals = [Measure(tmp_path, "here"), Measure(tmp_path, "missing")]
    goals[0].run()
    finish_command(args, goals)
    assert json.loads(capsys.readouterr().out) == {
        "dry_run": True,
        "results": [
            {"key": "here/imagenet_linear", "path": str(goals[0].result), "done": True},
            {"key": "missing/imagenet_linear", "path": str(goals[1].result), "done": False},
        ],
        "stages": [{"stage": "probe", "items": ["missing/imagenet_linear"]}],
    }

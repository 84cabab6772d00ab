"""The command of a record makes it again: run by a shell, as it is printed."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import benchmarks.knn.__main__ as knn
import benchmarks.logreg.__main__ as logreg
from benchmarks import linear_probe, low_shot_svm, registry
from benchmarks.catalog.records import read_record
from benchmarks.datasets import digits
from benchmarks.results import LowShotRecord, ProbeRecord
from reports.__main__ import main
from slurm.errors import UserError
from tests import processes
from tests.benchmarks.svm.svm_data import Recipe, make, write

ROOT = Path(__file__).resolve().parent.parent.parent


def printed(record: Path, capsys: pytest.CaptureFixture, *flags: str) -> str:
    capsys.readouterr()
    main(["reproduce", str(record), *flags])
    return capsys.readouterr().out


def run(line: str, folder: Path) -> None:
    """In the folder where the record was made."""
    python, *words = shlex.split(line)
    assert python == "python"
    done = processes.run(*words, cwd=folder)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def run_in_a_shell(line: str, folder: Path) -> None:
    """As a user does."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, shell=True, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def some_digits(folder: Path, every: int) -> None:
    """Some of the embedded digits in ImageNet's layout."""
    digits._write_imagenet(folder)
    for split in ("train", "val"):
        listed = folder / "meta" / f"{split}.txt"
        lines = listed.read_text().splitlines()
        for line in set(lines) - set(lines[::every]):
            (folder / split / line.split()[0]).unlink()
        listed.write_text("".join(f"{line}\n" for line in lines[::every]))


def only_record(zoo: Path) -> Path:
    (path,) = zoo.glob("results/*/*/*.json")
    return path


def test_a_probe_of_a_registered_checkpoint_on_the_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import torch

    from benchmarks.backbones.backbone import build_backbone

    monkeypatch.chdir(tmp_path)
    some_digits(Path("my data/imagenet"), every=8)
    torch.save(build_backbone("resnet18", sobel=False, seed=3).state_dict(), "net.pth")
    registry.main(["add", "net.pth", "--name", "net", "--zoo", "zoo", "--arch", "resnet18"])
    flags = ["--ckpt", "net", "--data", "my data/imagenet", "--device", "cpu", "--zoo", "zoo"]
    flags += ["--epochs", "1", "--set", "train.flip=true", "--set", "train.crop=16"]
    flags += ["--set", "test.crop=16", "--set", "milestones=[]"]
    flags += ["--seed", "5", "--threads", "1", "--workers", "0"]
    linear_probe.main([*flags, "--protocol", "digits_linear-4e_in1k"])
    first = only_record(Path("zoo"))
    line = printed(first, capsys)
    run_in_a_shell(line, tmp_path)
    again = only_record(Path("again"))
    assert again.name == first.name  # which holds a hash of all that the figure depends on
    one, other = read_record(first), read_record(again)
    assert isinstance(one, ProbeRecord)
    assert isinstance(other, ProbeRecord)
    assert other.heads == one.heads
    assert other.outcomes == one.outcomes
    assert one.made is not None
    assert (one.made.device, one.made.processes, one.made.beside) == ("CPU", 1, 1)
    assert 50 * 2**20 < (one.made.host_bytes or 0) < 100 * 2**30
    main(["--zoo", "zoo", "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    took = next(iter(document["records"].values()))["run"]
    images = one.data["train"].images + one.data["val"].images
    assert took["images_per_second"] == pytest.approx(images / one.seconds)
    assert document["run"]["device_hours"] == {"net": {"CPU": pytest.approx(one.seconds / 3600)}}


def test_low_shot_svms_of_features_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine", make(Recipe(rows=120, test_rows=40, classes=2)), layers=(4, 5))
    flags = ["--features", "mine", "--labels", "mine", "--zoo", "zoo", "--device", "cpu"]
    flags += ["--layers", "feature4", "--shots", "1,2", "--samples", "2", "--threads", "1"]
    low_shot_svm.main([*flags, "--name", "its-name"])
    first = only_record(Path("zoo"))
    run_in_a_shell(printed(first, capsys), tmp_path)
    again = only_record(Path("again"))
    one, other = read_record(first), read_record(again)
    assert isinstance(one, LowShotRecord)
    assert isinstance(other, LowShotRecord)
    assert (again.name, other.outcomes) == (first.name, one.outcomes)
    assert {k: shot.mean for k, shot in other.layers["feature4"].shots.items()} == {
        k: shot.mean for k, shot in one.layers["feature4"].shots.items()
    }


@pytest.mark.parametrize(
    ("program", "flags"),
    [(knn, ["--k", "3,5"]), (logreg, ["--costs", "0.01,1", "--shots", "1", "--fraction", "0.5"])],
)
def test_what_is_measured_on_cached_features(
    program: Any,
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    some_digits(Path("imagenet"), every=24)
    trunk = ["--ckpt", "random:test_resnet", "--data", "imagenet", "--device", "cpu"]
    trunk += ["--zoo", "zoo"]
    program.main([*trunk, *flags, "--threads", "1", "--workers", "0", "--seed", "3"])
    first = only_record(Path("zoo"))
    run(printed(first, capsys), tmp_path)
    again = only_record(Path("again"))
    one, other = read_record(first), read_record(again)
    assert (again.name, other.outcomes) == (first.name, one.outcomes)
    assert one.outcomes is not None


def test_a_record_of_an_earlier_build_needs_to_be_told_the_data(
    zoo: Any, capsys: pytest.CaptureFixture
) -> None:
    path = zoo.with_(weights="random:resnet50").probe("random-resnet50", {"feature1": 9.0})
    with pytest.raises(UserError, match="name the folder of its dataset with --data"):
        printed(path, capsys)
    line = printed(path, capsys, "--data", "some where")
    assert "--ckpt random:sobel_resnet50 --data 'some where'" in line
    assert "--protocol resnet50_mhead_linear-8xb32-steplr-90e_in1k --seed 0" in line


def test_what_cannot_be_made_again_is_one_line(zoo: Any, capsys: pytest.CaptureFixture) -> None:
    path = zoo.probe("net", {"feature1": 9.0})
    with pytest.raises(UserError, match=r"'net' is not in .* any more"):
        printed(path, capsys, "--data", "data")
    zoo.card("net", weights="blake2b:other")
    with pytest.raises(UserError, match="not there any more"):
        printed(path, capsys, "--data", "data")
    elsewhere = zoo.path / "record.json"
    elsewhere.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="not in a record's place"):
        printed(elsewhere, capsys, "--data", "data")


def test_custom_svms_come_from_their_suite(zoo: Any, capsys: pytest.CaptureFixture) -> None:
    zoo = zoo.with_(weights="random:resnet50")
    path = zoo.svm("random-resnet50", {"feature5": 50.0})
    record = json.loads(path.read_text())
    record["variant"] = "custom"
    record["settings"] |= {"folds": 5, "costs": [0.5, 1.0], "variant": "custom"}
    path.write_text(json.dumps(record))
    line = printed(path, capsys, "--data", "data/VOCdevkit/VOC2007")
    assert "python -m benchmarks --ckpt random:sobel_resnet50 --data data --suite model-zoo" in line
    assert "--only voc07_svm --set 'costs=[0.5,1.0]' --set folds=5" in line
    with pytest.raises(UserError, match="VOCdevkit/VOC2007"):
        printed(path, capsys, "--data", "data")

"""Every benchmark on a user's own data, through the commands."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import linear_probe, low_shot_svm, voc_svm
from benchmarks.__main__ import main as suite
from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.catalog.own import on_own_data
from benchmarks.catalog.records import read_record
from benchmarks.datasets.catalog import DATASETS
from benchmarks.results import key_of
from reports.__main__ import main as reports
from slurm.errors import UserError
from tests.benchmarks.voc_data import write_voc
from tests.conftest import write_image_folders

TRUNK = ("--ckpt", "random:resnet10t", "--device", "cpu", "--workers", "0")


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    return write_image_folders(tmp_path / "birds", train=6, val=3)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "scenes", {"trainval": 60, "test": 10})


def flags(tmp_path: Path, data: Path, name: str) -> list[str]:
    return [*TRUNK, "--zoo", str(tmp_path / "zoo"), "--data", str(data), "--own", name]


def records(tmp_path: Path) -> dict[str, Any]:
    return {
        path.parent.name: json.loads(path.read_bytes())
        for path in tmp_path.glob("zoo/results/*/*/*.json")
    }


def test_probes_of_class_folders_have_a_table_of_that_name(
    tmp_path: Path, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite([*flags(tmp_path, birds, "birds"), "--suite", "digits", "--set", "batch_size=9"])
    assert "note:" not in capsys.readouterr().err
    found = records(tmp_path)
    assert found.keys() == {"own_linear", "own_avgpool"}
    for record in found.values():
        assert record["settings"]["dataset"] == "own:birds"
        assert record["data"]["train"]["images"] == 18
    reports(["--zoo", str(tmp_path / "zoo")])
    text = capsys.readouterr().out
    assert text.count("####") == 1
    assert "#### birds Linear Evaluation (variant `custom`)\n" in text
    cells = [f"{head['top1']:.2f}" for head in found["own_linear"]["heads"].values()]
    cells.append(f"{found['own_avgpool']['heads']['avgpool']['top1']:.2f}")
    row = next(line for line in text.splitlines() if line.startswith("| random-resnet10t"))
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == cells


def test_svms_of_vocs_layout_have_a_table_of_that_name(
    tmp_path: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [*flags(tmp_path, scenes, "my_scenes"), "--layers", "feature5"]
    voc_svm.main([*base, "--protocol", "digits_voc07_svm"])
    shots = ["--protocol", "digits_voc07_low_shot_svm", "--shots", "1"]
    low_shot_svm.main([*base, *shots])
    found = records(tmp_path)
    assert found.keys() == {"own_svm", "own_low_shot_svm"}
    assert found["own_svm"]["classes"] == ["bird", "cat"]
    capsys.readouterr()
    reports(["--zoo", str(tmp_path / "zoo")])
    text = capsys.readouterr().out
    assert "#### my_scenes SVM / Low-shot SVM (variant `digits`)\n" in text
    best = found["own_svm"]["layers"]["feature5"]["map"]
    one = found["own_low_shot_svm"]["layers"]["feature5"]["shots"]["1"]["mean"]
    assert f"| feature5   | {best:.2f}" in text
    assert f" | {one:.2f} " in text


def test_any_linear_protocol_can_be_named(
    tmp_path: Path, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "resnet50_linear-8xb512-coslr-90e_in1k"
    linear_probe.main([*flags(tmp_path, birds, "birds"), "--protocol", name, "--dry-run"])
    found = capsys.readouterr()
    assert f"own_avgpool/{name}-" in found.out
    assert found.err == (
        f"note: {name} has batches of 4096 images and 18 to train on: an epoch is one step; "
        "--set batch_size=N makes it more\n"
    )


def test_the_suite_takes_what_fits_the_layout(
    tmp_path: Path, birds: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite([*flags(tmp_path, birds, "birds"), "--dry-run"])
    out = capsys.readouterr().out
    assert "0 of 2 results are done" in out
    suite([*flags(tmp_path, scenes, "scenes"), "--shots", "1", "--dry-run"])
    assert "0 of 2 results are done" in capsys.readouterr().out
    with pytest.raises(UserError, match="none of the chosen protocols can measure on"):
        suite([*flags(tmp_path, birds, "birds"), "--suite", "voc07_svm", "--dry-run"])
    for name in ("own_linear", "imagenet_linear", "resnet50_mhead_linear-8xb32-steplr-90e_in1k"):
        suite([*flags(tmp_path, birds, "birds"), "--only", name, "--dry-run"])
        assert "0 of 1 results are done" in capsys.readouterr().out
    with pytest.raises(UserError, match="places205_linear: is not measured on birds: choose from"):
        suite([*flags(tmp_path, birds, "birds"), "--only", "places205_linear", "--dry-run"])


def test_a_schedule_that_cannot_be_kept_is_said_when_planning(
    tmp_path: Path, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = [*flags(tmp_path, birds, "birds"), "--only", "own_linear", "--dry-run"]
    suite([*short, "--epochs", "20", "--set", "batch_size=5"])
    said = capsys.readouterr().err
    assert "ends after 20 epochs: its learning rate does not fall at epoch 30 and 60" in said
    assert "batches" not in said
    suite([*short, "--epochs", "21", "--set", "milestones=9,20", "--set", "batch_size=5"])
    assert capsys.readouterr().err == ""


def test_data_of_the_other_layout_are_one_clear_line(
    tmp_path: Path, birds: Path, scenes: Path
) -> None:
    with pytest.raises(UserError, match="has train/ and val/, on which linear probes measure"):
        voc_svm.main(flags(tmp_path, birds, "x"))
    probe = [*flags(tmp_path, scenes, "x"), "--protocol", "digits_linear-4e_in1k"]
    with pytest.raises(UserError, match="has VOC2007's lists, on which the SVMs measure"):
        linear_probe.main(probe)


@pytest.mark.parametrize(
    "name",
    ["imagenet", "ImageNet", "ImageNet-1k", "VOC2007", "voc_07", "Places-205", "inaturalist2018"],
)
def test_names_of_known_datasets_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"--own {name} is the name of a known dataset"):
        on_own_data(PROTOCOLS["voc07_svm"], name)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "x" * 129, "a\nb", "|", "naïve"])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="is not usable as a file name"):
        on_own_data(PROTOCOLS["voc07_svm"], name)


def test_every_protocol_can_be_put_on_own_data_under_a_key_of_its_own() -> None:
    keys = {key_of(protocol) for protocol in PROTOCOLS.values()}
    for protocol in PROTOCOLS.values():
        for name in ("a", "b"):
            own = on_own_data(protocol, name)
            assert own.dataset == f"own:{name}"
            keys.add(key_of(own))
    assert len(keys) == 3 * len(PROTOCOLS)
    assert "own" in DATASETS


@pytest.mark.parametrize(
    ("dataset", "complaint"),
    [
        ("birds", "names no data of its own: settings.dataset is 'birds'"),
        (None, "names no data of its own: settings.dataset is 'None'"),
        ("own:imagenet", "--own imagenet is the name of a known dataset"),
        ("own:<b>", "is not usable as a file name"),
    ],
)
def test_a_record_without_a_sound_name_is_none(
    tmp_path: Path, birds: Path, dataset: str | None, complaint: str
) -> None:
    probe = ["--protocol", "digits_linear-4e_in1k", "--epochs", "1"]
    linear_probe.main([*flags(tmp_path, birds, "birds"), *probe])
    (path,) = tmp_path.glob("zoo/results/*/*/*.json")
    assert read_record(path).benchmark == "own_avgpool"
    record = json.loads(path.read_bytes())
    record["settings"]["dataset"] = dataset
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=complaint):
        read_record(path)

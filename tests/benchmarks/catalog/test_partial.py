"""Data of other than the official sizes are announced before anything runs."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.linear_probe import main as probe
from benchmarks.voc_svm import main as svm
from tests.benchmarks.voc_data import write_voc


def test_it_is_said_once_a_dataset_under_dry_run_too(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "imagenet").symlink_to(tiny_imagenet)
    flags = ["--zoo", str(tmp_path / "zoo"), "--data", str(tmp_path), "--device", "cpu"]
    main(["--ckpt", "random:resnet18,random:resnet10t", "--suite", "avgpool", *flags, "--dry-run"])
    found = capsys.readouterr()
    assert "0 of 6 results are done" in found.out
    said = [line for line in found.err.splitlines() if " has batches of " not in line]
    assert said == [
        "note: these are not the images of ImageNet-1k (partial data, 66 of 1,331,167 images): the "
        "figures are marked in every table and stand beside no published one"
    ]


def test_nothing_is_said_of_the_digits_protocols(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--ckpt", "random:resnet18", "--zoo", str(tmp_path), "--data", str(tiny_imagenet)]
    probe([*flags, "--protocol", "digits_linear-4e_in1k", "--dry-run"])
    assert capsys.readouterr().err == ""


def test_the_summary_of_a_run_bears_the_mark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voc = write_voc(tmp_path / "VOC2007", {"trainval": 40, "test": 20})
    svm(
        [
            "--ckpt",
            "random:resnet10t",
            "--zoo",
            str(tmp_path / "zoo"),
            "--data",
            str(voc),
            "--device",
            "cpu",
            "--layers",
            "feature5",
            "--workers",
            "0",
        ]
    )
    lines = capsys.readouterr().err.splitlines()
    assert "these are not the images of VOC2007 (partial data, 60 of 9,963 images)" in lines[0]
    assert "(partial data, 60 of 9,963 images) [" in lines[-1]

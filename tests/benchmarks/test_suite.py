"""The suites, and how --only chooses from them."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.suite import QUICK, SUITES, fitting
from slurm.errors import UserError
from tests.benchmarks.voc_data import write_voc


def test_the_suites_hold_the_protocols_of_the_published_tables() -> None:
    avgpool = [protocol.name for protocol in SUITES["avgpool"]]
    assert avgpool == [
        "resnet50_linear-8xb32-steplr-100e_in1k",
        "resnet50_linear-8xb512-coslr-90e_in1k",
        "resnet50_linear-8xb32-coslr-100e_in1k",
    ]
    zoo = [protocol.name for protocol in SUITES["model-zoo"]]
    assert len(zoo) == 6
    assert set(zoo) & set(avgpool) == {"resnet50_linear-8xb32-steplr-100e_in1k"}


LARS = "resnet50_linear-8xb512-coslr-90e_in1k"


def plan(tmp_path: Path, data: Path, *flags: str) -> None:
    (tmp_path / "data").mkdir(exist_ok=True)
    if not (tmp_path / "data" / "imagenet").exists():
        (tmp_path / "data" / "imagenet").symlink_to(data)
    base = ["--ckpt", "random:resnet18", "--zoo", str(tmp_path), "--data", str(tmp_path / "data")]
    main([*base, "--device", "cpu", "--dry-run", *flags])


def test_one_protocol_of_the_suite_is_chosen(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(tmp_path, tiny_imagenet, "--suite", "avgpool", "--only", LARS)
    out = capsys.readouterr().out
    assert "0 of 1 results are done" in out
    assert f"imagenet_avgpool/{LARS}-" in out
    plan(tmp_path, tiny_imagenet, "--suite", "avgpool", "--only", "imagenet_avgpool")
    assert "0 of 3 results are done" in capsys.readouterr().out


def test_shots_are_given_once(tmp_path: Path, tiny_imagenet: Path) -> None:
    with pytest.raises(UserError, match=r"^--shots 1 and --set shots=2 are both given"):
        plan(tmp_path, tiny_imagenet, "--shots", "1", "--set", "shots=2", "--only", "voc07_svm")


def test_a_protocol_of_another_suite_names_that_suite(tmp_path: Path, tiny_imagenet: Path) -> None:
    """A near name of this suite would be another measurement."""
    with pytest.raises(UserError, match=f"--only {LARS}: not in the suite model-zoo; add --suite "):
        plan(tmp_path, tiny_imagenet, "--only", LARS)
    with pytest.raises(UserError, match="did you mean"):
        plan(tmp_path, tiny_imagenet, "--only", "imagenet_avgpol")


def test_probes_of_several_suites_share_one_stream(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--suite", "vissl,fair,imagenet_linear", "--only", "imagenet_linear")
    plan(tmp_path, tiny_imagenet, *flags)
    out = capsys.readouterr().out
    assert "0 of 3 results are done\nprobe: 1 to run\n  imagenet/together-" in out
    for name in ("vissl_mhead", "fair_mhead", "resnet50_mhead"):
        assert f"    random-resnet18/imagenet_linear/{name}_linear-" in out
    with pytest.raises(UserError, match="unknown suite 'visl'"):
        plan(tmp_path, tiny_imagenet, "--suite", "visl,fair")


def test_batches_that_the_processes_cannot_share_are_found_when_planning(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--suite", "avgpool", "--only", LARS)
    says = f"^random-resnet18/imagenet_avgpool/{LARS}-.*: 3 processes cannot share its batches of 4"
    with pytest.raises(UserError, match=says):
        plan(tmp_path, tiny_imagenet, *flags, "--cluster", "slurm", "--nodes", "3")
    plan(tmp_path, tiny_imagenet, *flags, "--cluster", "slurm", "--nodes", "4")
    for name, value in {"RANK": "0", "WORLD_SIZE": "3", "LOCAL_RANK": "0"}.items():  # as torchrun
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=says):
        plan(tmp_path, tiny_imagenet, *flags)
    assert not (tmp_path / "results").exists()


def test_too_few_images_of_a_class_are_found_before_the_extraction(tmp_path: Path) -> None:
    write_voc(tmp_path / "data" / "VOCdevkit" / "VOC2007")
    base = ["--ckpt", "random:resnet18", "--zoo", str(tmp_path), "--data", str(tmp_path / "data")]
    for more in (["--dry-run"], []):
        with pytest.raises(UserError) as caught:
            main([*base, "--device", "cpu", "--only", "voc07_low_shot_svm", "--shots", "1", *more])
        assert str(caught.value) == (
            "random-resnet18 voc07_low_shot_svm: class bird has 12 negatives in trainval, "
            "k=1 needs 19: even for one there are too few; leave low-shot SVMs out"
        )
    assert not (tmp_path / "features").exists()


def test_quick_benchmarks_are_in_no_suite_of_the_published_tables(tmp_path: Path) -> None:
    for name in ("model-zoo", "avgpool", "vissl", "fair", "digits"):
        assert not {one.benchmark for one in SUITES[name]} & set(QUICK), name
    (tmp_path / "imagenet").mkdir()
    others = [one for one in SUITES["quick"] if one.variant != "digits"]
    assert fitting(SUITES["quick"], tmp_path) == others
    (tmp_path / "imagenet" / ".digits").write_text("2")
    digits = fitting(SUITES["quick"], tmp_path)
    assert [(one.benchmark, one.variant) for one in digits] == [(name, "digits") for name in QUICK]
    assert fitting(SUITES["model-zoo"], tmp_path) == list(SUITES["model-zoo"])

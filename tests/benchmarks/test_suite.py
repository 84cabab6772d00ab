"""The suites, and how --only chooses from them."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.suite import SUITES
from slurm.errors import UserError


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


def test_a_protocol_of_another_suite_names_that_suite(tmp_path: Path, tiny_imagenet: Path) -> None:
    """A near name of this suite would be another measurement."""
    with pytest.raises(UserError, match=f"--only {LARS}: not in the suite model-zoo; add --suite "):
        plan(tmp_path, tiny_imagenet, "--only", LARS)
    with pytest.raises(UserError, match="did you mean"):
        plan(tmp_path, tiny_imagenet, "--only", "imagenet_avgpol")

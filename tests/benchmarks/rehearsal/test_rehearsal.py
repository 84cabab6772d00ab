"""`--rehearse` on small real images: figures of all kinds of items, and a zoo as it was."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.registry import load_backbone, register
from benchmarks.voc_svm import main as voc_svm
from slurm.errors import UserError
from tests.benchmarks.voc_data import write_voc

PROBE, SVMS = "digits_mhead_linear-2e_in1k", "voc07_svm,voc07_low_shot_svm"


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture
def data(tmp_path: Path, tiny_imagenet: Path) -> Path:
    write_voc(tmp_path / "data" / "VOCdevkit" / "VOC2007", {"trainval": 48, "test": 20})
    (tmp_path / "data" / "imagenet").symlink_to(tiny_imagenet)
    return tmp_path / "data"


def rehearse(data: Path, ckpt: str, only: str, *flags: str) -> dict[str, Any]:
    zoo, out = data.parent / "zoo", data.parent / "out.json"
    base = ["--ckpt", ckpt, "--suite", "digits", "--only", only, "--data", str(data)]
    before = files_below(data.parent) - {out}
    more = ["--zoo", str(zoo), "--device", "cpu", "--workers", "0", "--json", str(out)]
    main([*base, *more, "--rehearse", "1", *flags])
    assert files_below(data.parent) - {out} == before
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def check_hours(row: dict[str, Any]) -> None:
    """The arithmetic that the page and the output state."""
    if row["speeds"] is None:
        assert row["hours"] == pytest.approx(row["parts"] * row["part_seconds"] / 3600)
        return
    speeds = row["speeds"]
    lowest = min(speeds["loader"], speeds["trunk"], speeds["images"])
    assert lowest > 0
    seconds = row["epochs"] * row["images"] / lowest
    if row["evaluations"]:
        seconds += row["evaluations"] * row["test_images"] / speeds["test_images"]
        assert 0 < speeds["test_images"] <= speeds["test_loader"]
    assert row["hours"] == pytest.approx(seconds / 3600)


def test_every_kind_of_item_has_figures_and_nothing_is_written(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = rehearse(data, "random:resnet18", f"{PROBE},{SVMS}", "--shots", "1")
    rows = {row["stage"]: row for row in report["items"]}
    assert list(rows) == ["extract", "probe", "low_shot_svm", "voc_svm"]
    for row in rows.values():
        check_hours(row)
        assert 0.05 < row["host_gib"] < 50
        assert row["gpu_gib"] is None
        assert row["request"]["minutes"] > row["hours"] / row["parts"] * 60
        assert row["request"]["mem_gb"] > row["host_gib"]
    probe = rows["probe"]
    assert (probe["images"], probe["epochs"]) == (48, 2)
    assert (probe["test_images"], probe["evaluations"]) == (18, 2)
    assert probe["disk_gib"] > 0
    assert rows["extract"]["images"] == 68
    assert rows["extract"]["disk_gib"] > 68 * 5 * 512 * 4 / 2**30
    assert (rows["voc_svm"]["parts"], rows["low_shot_svm"]["parts"]) == (5, 5)
    total = report["total"]
    assert total["hours"] == pytest.approx(sum(row["hours"] for row in rows.values()))
    assert total["disk_gib"] == pytest.approx(sum(row["disk_gib"] for row in rows.values()))
    printed = capsys.readouterr().out
    assert "loader alone" in printed
    assert "all, one after another" in printed


def test_a_trunk_of_the_same_shape_is_not_measured_again(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo = data.parent / "zoo"
    for seed, name in enumerate(("first", "second")):
        backbone, _ = load_backbone(zoo, "random:resnet18", seed=seed)
        weights = backbone.trunk.state_dict()
        register(zoo, name, weights, arch="resnet18", sobel=False)
    capsys.readouterr()
    report = rehearse(data, "first,second", PROBE, "--together", "1")
    assert capsys.readouterr().err.count("rehearses ") == 1
    first, second = report["items"]
    assert first["speeds"] == second["speeds"]
    assert "second/" in second["name"]
    assert second["notes"][-1:] == [f"as {first['name']}, which it is like"]
    check_hours(second)


def test_another_process_can_rehearse(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a job of a cluster would; its log is all that is left."""
    zoo, flags = data.parent / "zoo", ("--only", PROBE, "--rehearse", "1", "--json", "-")
    base = ["--ckpt", "random:resnet18", "--suite", "digits", "--data", str(data)]
    more = ["--zoo", str(zoo), "--device", "cpu", "--workers", "0", "--cluster", "local"]
    main([*base, *more, *flags])
    said = capsys.readouterr()
    (row,) = json.loads(said.out)["items"]
    check_hours(row)
    assert "all, one after another" in said.err
    assert {path.suffix for path in files_below(zoo) if path.is_file()} <= {".log"}


def test_what_cannot_be_rehearsed_is_one_line(data: Path) -> None:
    base = ["--ckpt", "random:resnet18", "--device", "cpu", "--zoo", str(data.parent / "zoo")]
    own = [*base, "--data", str(data), "--suite", "digits", "--only", PROBE, "--rehearse"]
    with pytest.raises(UserError, match=r"^--rehearse and --dry-run: leave one out$"):
        main([*own, "--dry-run"])
    with pytest.raises(UserError, match=r"^no dataset at "):
        main([*base, "--data", str(data / "none"), "--rehearse"])
    with pytest.raises(UserError, match="nothing"):
        voc_svm([*base, "--data", str(data / "nothing"), "--rehearse"])
    assert not (data.parent / "zoo").exists()

"""Heads on every block: the command, what it refuses, and the curve in a report."""

from pathlib import Path

import pytest

from benchmarks import linear_probe, results
from benchmarks.__main__ import main as suite
from benchmarks.catalog.further.imagenet_blocks import DIGITS_IMAGENET_BLOCKS, TWINS
from benchmarks.catalog.own import on_own_data
from reports.__main__ import main as reports
from reports.collect import collect
from reports.measured import measured_tables
from reports.pictures.curves import pictures
from slurm.cli import run_command

DIGITS = "digits_mhead_linear-2e_in1k"
QUIET = ("--device", "cpu", "--workers", "0")


def flags(zoo: Path, data: Path, ckpt: str = "random:test_vit") -> list[str]:
    return ["--ckpt", ckpt, "--zoo", str(zoo), "--data", str(data), *QUIET]


def test_a_curve_over_the_blocks_stands_in_no_published_column(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [*flags(tmp_path, tiny_imagenet), "--protocol", DIGITS]
    linear_probe.main(base)
    linear_probe.main([*base, "--taps", "blocks", "--lr", "0.03"])
    # The same item as its protocol's by name, which a suite of its own measures.
    name = DIGITS_IMAGENET_BLOCKS.name
    linear_probe.main([*flags(tmp_path, tiny_imagenet), "--protocol", name, "--dry-run"])
    assert "1 of 1 results are done" in capsys.readouterr().out
    linear_probe.main([*flags(tmp_path, tiny_imagenet, "random:test_resnet"), "--protocol", name])
    found = {}
    for path in tmp_path.glob("results/*/imagenet_blocks/*.json"):
        record = results.read(path, results.ProbeRecord)
        found[record.checkpoint.arch] = record
        assert (record.protocol, record.variant) == (name, "digits")
    assert list(found["test_vit"].heads) == [f"block{number}" for number in range(1, 7)]
    assert list(found["test_resnet"].heads) == [f"block{number}" for number in range(1, 5)]
    assert len(found["test_vit"].grid) == 2
    capsys.readouterr()
    reports(["--zoo", str(tmp_path)])
    text = capsys.readouterr().out
    assert text.count("#### ") == 2
    linear, blocks = text.split("#### ImageNet Linear Evaluation by Block (variant `digits`)")
    assert "block" not in linear.casefold()
    header = "| Self-Supervised Config | Block1 | Block2 | Block3 | Block4 | Block5 | Block6 |"
    assert header in blocks
    cells = [f"{head.top1:.2f}".ljust(6) for head in found["test_resnet"].heads.values()]
    assert f"| random-test_resnet     | {' | '.join(cells)} | -      | -      |" in blocks
    collection = collect(tmp_path)
    made = {one.name: one for one in pictures(measured_tables(collection), collection)}
    (panel,) = made["blocks-digits"].panels
    for curve in panel.curves:
        heads = found[curve.label.removeprefix("random-")].heads.values()
        assert curve.x == tuple(range(1, len(heads) + 1))
        assert curve.y == tuple(head.top1 for head in heads)
    assert "grid-imagenet-blocks-digits-random-test_vit" in made
    assert on_own_data(DIGITS_IMAGENET_BLOCKS, "birds").benchmark == "own_blocks"


def test_mistakes_are_one_line(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = ("--protocol", DIGITS, "--taps", "blocks")
    for ckpt, words, says in [
        ("random:alexnet", blocks, "architecture 'alexnet' has no blocks to put heads on"),
        ("random:test_vit", ("--protocol", "digits_linear-4e_in1k", "--taps", "blocks"), "alone"),
        ("random:test_vit", ("--protocol", "vissl_mhead_linear-28e_in1k", "--taps", "blocks"),
         f"blocks are of --protocol {' or '.join(TWINS)}"),
        ("random:test_vit", ("--protocol", "digits_blocks_linear-2e_in1k", "--taps", "stages"),
         "has its heads on blocks alone"),
        ("random:test_vit", ("--protocol", DIGITS, "--taps", "all"), "invalid choice: 'all'"),
        ("random:test_vit", ("--protocol", DIGITS, "--set", "taps=blocks"), "of their own"),
    ]:  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            run_command(linear_probe.main, [*flags(tmp_path, tiny_imagenet, ckpt), *words])
        (line,) = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("note: ")]
        assert ended.value.code == 2
        assert says in line
    assert not (tmp_path / "results").exists()


def test_a_suite_of_their_own_takes_the_protocol_that_fits_the_data(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "imagenet").symlink_to(tiny_imagenet)
    for name in ("imagenet_blocks", "imagenet_attentive"):
        words = ["--suite", name, "--dry-run", *flags(tmp_path, tmp_path)]
        suite(words)
        out = capsys.readouterr().out
        assert "0 of 1 results are done" in out
        assert "digits" not in out

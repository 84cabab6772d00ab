"""Heads beside a probe's own: each is that of a run with its numbers, and changes no other."""

import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from benchmarks import results
from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL, IMAGENET_AVGPOOL_LARS
from benchmarks.catalog.imagenet_linear import (
    DIGITS_IMAGENET_LINEAR,
    IMAGENET_LINEAR,
    VISSL_IMAGENET_LINEAR,
)
from benchmarks.linear_probe import main
from benchmarks.probes import stream, training
from benchmarks.probes.grid import Grid
from benchmarks.probes.heads import Heads
from benchmarks.probes.item import Probe, probe_item, with_grid
from benchmarks.probes.optimization import learning_rate, new_optimizer
from benchmarks.protocols import ImageTransform, LinearProtocol, Point
from slurm.cli import run_command
from slurm.stop import Stopped
from tests.benchmarks.voc_data import make_trunk

PLAIN = ImageTransform(crop=32, resize=32)
SHIFT = ImageTransform(crop=32, resize=36, random_crop=36, flip=True)
POINTS = [Point(*pair) for pair in product((0.003, 0.01, 0.3), (0.0, 1e-2))]


def small(protocol: LinearProtocol, **changes: Any) -> LinearProtocol:
    return replace(
        protocol, name="test", train=SHIFT, test=PLAIN, epochs=3, milestones=(2,), batch_size=20,
        pooled_size=128, **changes,
    )  # fmt: skip


PROTOCOL = small(IMAGENET_LINEAR)


def probe(zoo: Path, data: Path, points: Sequence[Point] = (), **changes: Any) -> Probe:
    trunk = make_trunk(zoo, "random:test_resnet", seed=3)
    return with_grid(probe_item(trunk, data, replace(PROTOCOL, **changes)), points)


def read(item: Probe) -> results.ProbeRecord:
    return results.read(item.result, results.ProbeRecord)


@pytest.mark.parametrize(
    "protocol", [IMAGENET_LINEAR, VISSL_IMAGENET_LINEAR, IMAGENET_AVGPOOL, IMAGENET_AVGPOOL_LARS],
    ids=lambda one: one.name,
)  # fmt: skip
def test_a_head_of_the_grid_is_the_one_that_its_numbers_train_alone(
    protocol: LinearProtocol,
) -> None:
    """Batch norm with scale and shift, none, Nesterov, LARS: over milestones, as heads alone."""
    protocol = replace(protocol, epochs=4, milestones=(2,), learning_rate=0.1)
    channels = {"feature1": 4, "feature2": 6}
    draws = torch.Generator().manual_seed(0)
    batches = [
        {"feature1": torch.randn(9, 16, generator=draws) + 1, "feature2": torch.rand(9, 6)}
        for _ in range(9)
    ]
    labels = torch.arange(9) % 5
    own = Heads(channels, batches[0], 5, protocol, seed=1)
    grid = Grid(own, protocol, POINTS)
    for number, batch in enumerate(batches):
        grid.begin_epoch(number // 2)
        grid.step(batch, labels)
    grid.begin_evaluation()
    for number, point in enumerate(POINTS):
        alone = replace(protocol, **point._asdict())
        heads = Heads(channels, batches[0], 5, alone, seed=1)
        optimizer = new_optimizer(heads, alone)
        for at, batch in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(alone, at // 2)
            losses = [
                torch.nn.functional.cross_entropy(one, labels) for one in heads(batch).values()
            ]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
        heads.eval()
        for tap, logits in heads(batches[-1]).items():
            found = grid.taps[tap].heads(batches[-1][tap])[:, number]
            torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-5)
            assert not torch.equal(found, own(batches[-1])[tap])


def test_the_protocols_figures_are_those_of_a_run_without_a_grid(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: heads, statistics, outcomes; and every point is a run with --set's figures."""
    kept: dict[str, dict[str, torch.Tensor]] = {}
    end_epoch = training.ProbeRun.end_epoch

    def keep(run: training.ProbeRun) -> None:
        end_epoch(run)
        kept[run.name] = {name: one.clone() for name, one in run.heads.state_dict().items()}

    monkeypatch.setattr(training.ProbeRun, "end_epoch", keep)
    plain = probe(tmp_path / "plain", tiny_imagenet)
    whole = probe(tmp_path / "grid", tiny_imagenet, POINTS)
    plain.run()
    whole.run()
    for name, values in kept[plain.key].items():
        assert torch.equal(kept[whole.key][name], values), name
    one, other = (msgspec.to_builtins(read(item)) for item in (plain, whole))
    for content in (one, other):
        for field in ("grid", "made", "started", "seconds"):
            content.pop(field)
    assert one == other
    assert (plain.result.name, read(plain).grid) == (whole.result.name, ())
    assert plain.key != whole.key
    own = Point(PROTOCOL.learning_rate, PROTOCOL.weight_decay)
    found = {Point(one.learning_rate, one.weight_decay): one for one in read(whole).grid}
    assert list(found) == sorted({*POINTS, own})
    assert found[own].heads == read(whole).heads
    point = Point(0.3, 1e-2)
    alone = probe(tmp_path / "alone", tiny_imagenet, **point._asdict())
    alone.run()
    for tap, head in read(alone).heads.items():
        # 18 validation images; the order of floating-point sums differs.
        assert found[point].heads[tap].top1_by_epoch == pytest.approx(head.top1_by_epoch, abs=5.6)
        assert found[point].heads[tap].best_top5 == head.best_top5 == 100.0


@pytest.mark.parametrize("stop_at", [1, 4])
def test_a_stopped_run_continues_with_its_grid(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    whole = probe(tmp_path / "whole", tiny_imagenet, POINTS)
    whole.run()
    item = probe(tmp_path / "parts", tiny_imagenet, POINTS)
    calls = iter(range(1000))
    monkeypatch.setattr(stream, "stop_requested", lambda: next(calls) == stop_at)
    with pytest.raises(Stopped, match=r"after [1-9] step"):
        item.run()
    saved = item.state.read_bytes()
    # Neither a run without the grid nor one with another goes on from there, or harms it.
    assert len({item.state, probe(tmp_path / "parts", tiny_imagenet).state}) == 2
    assert probe(tmp_path / "parts", tiny_imagenet, POINTS[:2]).state != item.state
    monkeypatch.setattr(stream, "stop_requested", lambda: False)
    item.run()
    assert (read(item).heads, read(item).grid) == (read(whole).heads, read(whole).grid)
    assert not item.state.exists()
    # A state whose grid is damaged is not used.
    content = torch.load(io.BytesIO(saved), weights_only=True)
    content["grid"]["heads"]["feature2"]["weight"] = torch.zeros(2, 3)
    torch.save(content, item.state)
    item.run()
    assert read(item).grid == read(whole).grid


def test_a_grid_is_added_to_a_record_and_loses_no_point_of_it(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    plain = probe(tmp_path, tiny_imagenet, epochs=1)
    plain.run()
    first = probe(tmp_path, tiny_imagenet, POINTS[:2], epochs=1)
    assert plain.done()
    assert not first.done()
    first.run()
    before = read(first)
    assert before.heads == read(plain).heads
    second = probe(tmp_path, tiny_imagenet, POINTS[4:], epochs=1)
    assert not second.done()
    second.run()
    own = Point(PROTOCOL.learning_rate, PROTOCOL.weight_decay)
    points = [Point(one.learning_rate, one.weight_decay) for one in read(second).grid]
    assert points == sorted({*POINTS[:2], *POINTS[4:], own})
    for item in (plain, probe(tmp_path, tiny_imagenet, POINTS[4:], epochs=1)):
        assert item.done()
    for tap, head in before.grid[0].heads.items():
        assert read(second).grid[0].heads[tap].top1 == pytest.approx(head.top1, abs=5.6)


def test_a_head_that_diverges_has_no_figure_and_harms_no_other(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    plain = probe(tmp_path / "plain", tiny_imagenet)
    plain.run()
    item = probe(tmp_path / "grid", tiny_imagenet, [Point(1e38, 0.0), Point(0.1, 0.0)])
    item.run()
    record = read(item)
    assert record.heads == read(plain).heads
    own, calm, wild = record.grid
    assert (calm.learning_rate, wild.learning_rate) == (0.1, 1e38)
    assert wild.heads == {}
    assert wild.diverged == dict.fromkeys(record.heads, 1)
    assert calm.heads.keys() == own.heads.keys() == record.heads.keys()
    assert not calm.diverged


def test_mistakes_are_one_line(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--ckpt", "random:test_resnet", "--zoo", str(tmp_path), "--data", str(tiny_imagenet)]
    base += ["--protocol", PROTOCOL_NAME, "--device", "cpu", "--workers", "0"]
    for flags, says in {
        ("--lr", ""): "'' leaves out a number",
        ("--lr", "0.1,,0.2"): "leaves out a number",
        ("--lr", "0.1,fast"): "'fast' is no number",
        ("--lr", "0.1,0"): "0 is no finite number above 0",
        ("--lr=-0.1",): "-0.1 is no finite number above 0",
        ("--lr", "nan"): "nan is no finite number above 0",
        ("--lr", "0.1,1e-1"): "1e-1 is named twice",
        ("--weight-decay=-1e-4",): "-1e-4 is no finite number from 0",
        ("--weight-decay", "inf"): "inf is no finite number from 0",
        ("--lr", ",".join(f"0.{n}1" for n in range(40)), "--weight-decay", "0,1"): "make 80 points",
    }.items():
        with pytest.raises(SystemExit) as ended:
            run_command(main, [*base, *flags])
        (line,) = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("note: ")]
        assert ended.value.code == 2
        assert says in line
    assert not (tmp_path / "results").exists()


PROTOCOL_NAME = "digits_mhead_linear-2e_in1k"


def test_the_command_names_its_grid(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--ckpt", "random:test_resnet", "--zoo", str(tmp_path), "--data", str(tiny_imagenet)]
    flags += ["--protocol", PROTOCOL_NAME, "--device", "cpu", "--workers", "0", "--epochs", "1"]
    main([*flags, "--lr", "0.03,0.01", "--weight-decay", "0"])
    assert "(a grid of 3 points in the record)" in capsys.readouterr().err
    (path,) = tmp_path.glob("results/*/*/*.json")
    record = results.read(path, results.ProbeRecord)
    points = [(one.learning_rate, one.weight_decay) for one in record.grid]
    own = DIGITS_IMAGENET_LINEAR.learning_rate
    assert points == [(own, 1e-4), (0.01, 0.0), (0.03, 0.0)]
    assert record.settings["learning_rate"] == own
    before = path.stat().st_mtime_ns
    main(flags)  # is done: its figures are there
    assert path.stat().st_mtime_ns == before

"""How long features took: all runs, by device, and a pass of several trunks divided among them.

Train is three batches and val two, of 16 images at most; by the clock of these tests each takes
ten seconds.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.catalog.images import DIGIT
from benchmarks.catalog.records import read_record
from benchmarks.features import one_pass
from benchmarks.features.avgpool import ExtractAvgpool, ExtractTogether, avgpool_item
from benchmarks.features.took import TOOK, read_seconds, read_share
from benchmarks.knn.__main__ import main as knn
from benchmarks.logreg.__main__ import main as logreg
from reports.collect import collect
from reports.costs import hours_by_row
from slurm.stop import Stopped
from tests.benchmarks.trunks import random_trunk

Slow = Callable[..., None]


@pytest.fixture
def item(tmp_path: Path, tiny_imagenet: Path) -> ExtractAvgpool:
    return avgpool_item(random_trunk(tmp_path), tiny_imagenet, "imagenet", DIGIT, "fp32")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Runs an item by that clock, and calls `each` with the number of the batch before it."""
    clock = SimpleNamespace(now=0.0, before=lambda number: None)
    real = one_pass._batches

    def batches(*args: Any) -> Iterator[Any]:
        for number, found in enumerate(real(*args)):
            clock.before(number)
            clock.now += 10
            yield found

    def slowly(item: Any, each: Callable[[int], object] = lambda number: None) -> None:
        clock.before = each
        item.run()

    monkeypatch.setattr(one_pass, "BATCH", 16)
    monkeypatch.setattr(one_pass, "SAVE_SECONDS", 5)
    monkeypatch.setattr(one_pass, "_batches", batches)
    monkeypatch.setattr(one_pass, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return slowly


def stop(number: int) -> None:
    if number == 1:
        signal.raise_signal(signal.SIGTERM)


def test_the_runs_of_a_stopped_extraction_add_up_by_device(
    item: ExtractAvgpool, run: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_pass, "device_name", lambda device: "A GPU")
    with pytest.raises(Stopped):
        run(item, stop)
    assert read_seconds(item.directory) == {"A GPU": 20}
    monkeypatch.setattr(one_pass, "device_name", lambda device: "Another")
    run(item)
    assert read_seconds(item.directory) == {"A GPU": 20, "Another": 30}
    assert read_share(item.directory) is None  # no other trunk read the images with it


def test_a_killed_run_has_left_what_it_took_until_then(item: ExtractAvgpool, run: Slow) -> None:
    seen: list[object] = []
    run(item, lambda number: seen.append(read_seconds(item.directory)))
    assert seen == [{}, {"CPU": 10}, {"CPU": 20}, {"CPU": 30}, {"CPU": 40}]


def test_what_trunks_do_together_is_divided_among_them(
    tmp_path: Path, tiny_imagenet: Path, item: ExtractAvgpool, run: Slow
) -> None:
    with pytest.raises(Stopped):
        run(item, stop)  # two batches alone
    trunk = random_trunk(tmp_path, "random:resnet34")
    other = avgpool_item(trunk, tiny_imagenet, "imagenet", DIGIT, "fp32")
    run(ExtractTogether((item, other)))  # two that only the other needs, and three together
    assert read_seconds(item.directory) == read_seconds(other.directory) == {"CPU": 50}
    assert read_share(item.directory) == read_share(other.directory) == {"CPU": 35}  # 70 in all


def test_of_what_an_earlier_build_began_nothing_is_said(item: ExtractAvgpool, run: Slow) -> None:
    with pytest.raises(Stopped):
        run(item, stop)
    (item.directory / TOOK).unlink()
    run(item)
    assert item.done()
    assert read_seconds(item.directory) is None


def test_the_records_of_both_benchmarks_say_it_and_a_row_counts_it_once(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    base = ["--ckpt", "random:resnet18", "--zoo", str(tmp_path), "--data", str(tiny_imagenet)]
    base += ["--set", "image.crop=32", "--set", "image.resize=40", "--device", "cpu"]
    knn([*base, "--workers", "0", "--k", "3"])
    logreg([*base, "--workers", "0", "--costs", "1", "--shots", "none", "--fraction", "none"])
    records = [read_record(path) for path in sorted(tmp_path.glob("results/*/*/*.json"))]
    assert [one.benchmark for one in records] == ["imagenet_knn", "imagenet_logreg"]
    (folder,) = tmp_path.glob("features/*/*")
    took = read_seconds(folder)
    assert took is not None
    assert 0 < took["CPU"] < 600
    for record in records:
        assert record.made is not None
        assert (record.made.extraction, record.made.extraction_share) == (took, None)
    (hours,) = hours_by_row(collect(tmp_path).found).values()
    seconds = sum(record.seconds for record in records) + took["CPU"]
    assert hours == {"CPU": pytest.approx(seconds / 3600)}

"""`--rehearse` of what reads cached features: k-NN by a part of it, logistic regression a bound."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.catalog.images import DIGIT
from benchmarks.knn.__main__ import main as knn
from benchmarks.knn.item import knn_item
from benchmarks.knn.neighbours import Neighbours
from benchmarks.logreg.__main__ import main as logreg
from benchmarks.logreg.item import logreg_item
from benchmarks.protocols import KnnProtocol, LogregProtocol
from benchmarks.rehearsal import neighbours, regression
from benchmarks.rehearsal.features import Source
from tests.benchmarks.trunks import random_trunk

SMALL = ("--set", "image.crop=32", "--set", "image.resize=40", "--device", "cpu", "--workers", "0")
GIB = 2**30


@pytest.fixture
def data(tmp_path: Path, tiny_imagenet: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "imagenet").symlink_to(tiny_imagenet)
    return tmp_path / "data"


def flags(data: Path, ckpt: str = "random:resnet18") -> list[str]:
    zoo, out = data.parent / "zoo", data.parent / "out.json"
    return ["--ckpt", ckpt, "--zoo", str(zoo), "--json", str(out), *SMALL]


def report_of(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data.parent / "out.json").read_text())
    return found


def test_a_quick_suite_costs_something_and_its_sum_is_at_least(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = flags(data, "random:resnet18,random:resnet34")
    suite = ["--suite", "quick", "--data", str(data), "--set", "ks=3", "--set", "costs=0.1,1"]
    main([*both, *suite, "--rehearse", "1"])
    assert not (data.parent / "zoo").exists()
    report = report_of(data)
    stages = [row["stage"] for row in report["items"]]
    assert stages == ["features", "knn", "knn", "logreg", "logreg"]
    features, *others = report["items"]
    assert features["images"] == 48 + 18  # once, for both trunks
    assert features["disk_gib"] == pytest.approx((48 + 18) * 2 * 512 * 2 / GIB)
    lowest = min(features["speeds"].values(), key=lambda speed: speed or 1e9)
    assert features["hours"] == pytest.approx(66 / lowest / 3600)
    for row in others:
        assert row["hours"] == row["part_seconds"] / 3600 > 0
        assert row["at_least"] == (row["request"] is None) == (row["stage"] == "logreg")
    total = report["total"]
    assert total["hours"] == pytest.approx(sum(row["hours"] for row in report["items"]))
    assert (total["at_least"], total["request"]) == (True, None)
    printed = capsys.readouterr().out
    assert "not rehearsed" not in printed
    assert "all, one after another: at least 0.0" in printed
    assert "as one job: no request, since how long logreg takes is not known" in printed


def test_without_a_bound_there_is_a_request_and_features_on_disk_are_read(data: Path) -> None:
    words = [*flags(data), "--data", str(data / "imagenet"), "--k", "3"]
    knn([*words, "--rehearse", "1"])
    report = report_of(data)
    assert [row["stage"] for row in report["items"]] == ["features", "knn"]
    assert report["total"]["at_least"] is False
    assert report["total"]["request"]["minutes"] >= 6
    knn(words)
    logreg([*flags(data), "--data", str(data / "imagenet"), "--costs", "1", "--rehearse", "1"])
    (row,) = report_of(data)["items"]
    assert row["stage"] == "logreg"
    assert "from 48 of 48 rows on the features on disk" in row["notes"][0]


def test_a_part_of_the_rows_and_of_the_queries_tells_the_whole_search(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 48 rows and 18 queries it sees three blocks of eight, and 2 and 4 queries."""
    clock = SimpleNamespace(now=0.0)
    asked: list[tuple[int, int]] = []

    def nearest(bank: Any, queries: Any, k: int, device: Any, tick: Any = lambda n: None) -> Any:
        asked.append((len(bank), len(queries)))
        clock.now += 0.1 * len(queries)  # once
        for _ in range(len(bank) // 8):
            clock.now += 1 + 0.25 * len(queries)
            tick(8)
        shape = (len(queries), k)
        return Neighbours(torch.ones(shape), torch.zeros(shape, dtype=torch.int64))

    monkeypatch.setattr(neighbours, "nearest", nearest)
    monkeypatch.setattr(neighbours, "BANK_ROWS", 8)
    monkeypatch.setattr(neighbours, "QUERIES", (2, 4))
    monkeypatch.setattr(neighbours, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(Source, "reading_seconds", lambda self, folder: 0.5)
    item = knn_item(random_trunk(tmp_path), tiny_imagenet, KnnProtocol("x", "digits", DIGIT, (3,)))
    sample = np.random.default_rng(0).random((5, 7)).astype(np.float16)
    row = neighbours.knn_row(item, 1.0, sample, tmp_path)
    assert asked == [(24, 2), (24, 2), (24, 4)]
    assert row.part_seconds == pytest.approx(0.5 + 0.1 * 18 + 6 * (1 + 0.25 * 18))


def test_the_least_of_a_logistic_regression_is_one_step_of_every_fit(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    protocol = LogregProtocol(
        *("x", "digits", DIGIT, (1.0, 2.0, 4.0, 8.0, 16.0)),
        per_class=(2,),
        fractions=(),
        samples=3,
    )
    item = logreg_item(random_trunk(tmp_path), tiny_imagenet, protocol)
    steps = regression._Steps()
    steps.step, steps.score = {10: 1.5, 20: 2.5}, {10: 0.1, 20: 0.2}  # 0.1 and 0.01 a row
    steps.whole, steps.renewed = 7.0, 3.0
    # Once for each of two fits, with preconditioners made at 1, 4 and 16; and for each of 5 costs:
    # 44 rows are fitted beside 4 that are held out, then 48; three times 6 in 6 of 12 dimensions;
    # and each of four solutions is scored on 4 and 18 rows.
    each = (0.5 + 4.4) + (0.5 + 4.8) + 3 * (0.5 + 0.6) * 6 / 12 + 0.01 * 4 * 22
    found = regression._least(item, steps, 12, train=48, val=18)
    assert found == pytest.approx(2 * (7 + 3 * 3) + 5 * each)

"""Rows that were measured otherwise: they are compared as what they are, and it is said."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks import results
from benchmarks.catalog.records import read_record
from reports.__main__ import main
from reports.confidence.resampling import draws_stream, resample_draws
from tests.reports.confidence.outcome_zoo import (
    LIST,
    average_precisions,
    low_shot_of_draws,
    probe,
    scores_and_labels,
    svm_of_layers,
)

DRAWS = 5


def compared(zoo: Path, *names: str) -> dict[str, Any]:
    out = zoo / "out.json"
    main(["compare", *names, "--zoo", str(zoo), "--json", str(out)])
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_the_draws_of_seed_0_are_taken_again_as_they_ever_were() -> None:
    words = np.random.Philox(key=int(LIST[:32], 16), counter=1 << 192)
    raw = words.random_raw(40 * DRAWS).reshape(40, DRAWS)
    expected = ((raw >> np.uint64(32)) * np.uint64(DRAWS)) >> np.uint64(32)
    found = resample_draws(DRAWS, LIST, 0, 40)
    assert (found == expected.T.astype(np.int64)).all()
    assert (resample_draws(DRAWS, LIST, 10, 30) == found[:, 10:]).all()


def test_other_draws_are_taken_again_independently() -> None:
    sources = ("seed 0", "seed 1", "official:00ff", "official:00fe")
    assert len({draws_stream(source) for source in sources}) == 4
    assert max(map(draws_stream, (*sources, f"seed {2**70}"))) < 2**64
    found = [resample_draws(DRAWS, LIST, 0, 4000, source).mean(0) for source in sources]
    apart = np.corrcoef(found) - np.eye(4)
    assert np.abs(apart).max() < 4 / np.sqrt(4000)


@pytest.mark.parametrize("source", ["seed 1", "official:" + "5e" * 16])
def test_only_the_same_draws_are_paired(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two rows of the same figures: by the same draws they never differ, by others they do."""
    labels = scores_and_labels(0, 0.0)[1]
    draws = np.stack([scores_and_labels(n, 0.5 + 0.5 * n)[0] for n in range(DRAWS)])
    for name, of in (("one", "seed 0"), ("same", "seed 0"), ("other", source)):
        low_shot_of_draws(tmp_path, name, draws, labels, of)
    same = compared(tmp_path, "one", "same")
    assert [(c["low"], c["high"]) for c in same["columns"]] == [(0.0, 0.0)]
    assert same["unlike"] == []
    other = compared(tmp_path, "one", "other")
    (column,) = other["columns"]
    # Each side is the mean of five draws that are taken again from five, on the same images.
    spread = np.std([np.mean(average_precisions(one, labels)) for one in draws])
    expected = 2 * 1.96 * spread * np.sqrt(2 / DRAWS)
    assert column["high"] - column["low"] == pytest.approx(expected, rel=0.1)
    assert not column["separable"]
    (line,) = other["unlike"]
    said = source if source.startswith("seed") else "official files 5e5e5e5e"
    assert line == (
        f"VOC SVM / Low-shot SVM, k=1: one by draws of seed 0, other by draws of {said}: these "
        "were resampled independently, on the same images"
    )
    assert "- Not measured alike: VOC SVM / Low-shot SVM, k=1: one by" in capsys.readouterr().out


def test_intervals_by_other_draws_are_not_taken_from_what_was_kept(tmp_path: Path) -> None:
    labels = scores_and_labels(0, 0.0)[1]
    draws = np.stack([scores_and_labels(n, 0.5 + 0.5 * n)[0] for n in range(DRAWS)])
    low_shot_of_draws(tmp_path, "one", draws, labels, "seed 0")
    low_shot_of_draws(tmp_path, "two", draws, labels, "seed 0")
    first = compared(tmp_path, "one", "two")["columns"][0]
    low_shot_of_draws(tmp_path, "two", draws, labels, "seed 1")
    second = compared(tmp_path, "one", "two")["columns"][0]
    assert first["high"] == 0 < second["high"]


def test_the_best_of_fewer_layers_is_said(tmp_path: Path) -> None:
    scores, labels = scores_and_labels(1, 1.0)
    better, _ = scores_and_labels(2, 2.5)
    svm_of_layers(tmp_path, "full", {"feature2": better, "feature5": scores}, labels)
    svm_of_layers(tmp_path, "few", {"feature5": scores}, labels)
    assert compared(tmp_path, "full", "few")["unlike"] == [
        "VOC SVM / Low-shot SVM, SVM: full the best of feature2, feature5 and few the best of "
        "feature5 alone: a best of more layers can be higher by choice alone"
    ]
    svm_of_layers(tmp_path, "too", {"feature2": scores, "feature5": better}, labels)
    assert compared(tmp_path, "full", "too")["unlike"] == []


def test_seeds_and_precisions_that_differ_are_said(tmp_path: Path) -> None:
    probe(tmp_path, "one", np.arange(100) < 50, seed=1)
    path = probe(tmp_path, "two", np.arange(100) < 60, seed=3)
    results.write(path, msgspec.structs.replace(read_record(path), precision="amp"))
    assert compared(tmp_path, "one", "two")["unlike"] == [
        "ImageNet Linear Evaluation, AvgPool: precision not recorded (one) and amp (two)",
        "ImageNet Linear Evaluation, AvgPool: one is of seed 1, two of seed 3",
    ]


def test_rows_of_own_data_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, right in (("one", 50), ("two", 60)):
        path = probe(tmp_path, name, np.arange(100) < right)
        record = read_record(path)
        settings = record.settings | {"dataset": "own:birds", "benchmark": "own_avgpool"}
        content = msgspec.structs.replace(record, benchmark="own_avgpool", settings=settings)
        results.write(path.parent.parent / "own_avgpool" / path.name, content)
        moved = path.with_name(path.name.replace(".json", ".outcomes.safetensors"))
        moved.rename(path.parent.parent / "own_avgpool" / moved.name)
        path.unlink()
    (column,) = compared(tmp_path, "one", "two")["columns"]
    assert (column["table"], column["title"]) == ("own-birds-linear", "birds Linear Evaluation")
    main(["compare", "one", "two", "--zoo", str(tmp_path), "--picture", str(tmp_path / "x.svg")])
    assert "| birds Linear Evaluation (digits) | AvgPool | " in capsys.readouterr().out

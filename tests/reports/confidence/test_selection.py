"""Choices made on other images than those that judge, from stored outcomes."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks import results
from benchmarks.catalog.records import read_record
from benchmarks.metrics import ranked
from benchmarks.outcomes.files import SPLITS
from benchmarks.outcomes.halves import average_precisions as halved_precisions
from benchmarks.outcomes.halves import both_halves
from reports.__main__ import main
from reports.collect import collect
from reports.confidence.bars import picture_bounds
from reports.confidence.selection import optimism
from reports.measured import measured_tables
from tests.reports.confidence.outcome_zoo import (
    LIST,
    average_precisions,
    low_shot,
    scores_and_labels,
    svm_of_layers,
)

LAYERS = {"feature4": (1, 1.0), "feature5": (2, 1.02)}  # nearly equal: seed and strength


def cells(zoo: Path, capsys: pytest.CaptureFixture, *flags: str) -> dict:
    main(["--zoo", str(zoo), "--format", "json", *flags])
    tables = json.loads(capsys.readouterr().out)["tables"]
    return {row["name"]: row["cells"] for table in tables for row in table["rows"]}


def by_hand(scores: dict, labels: np.ndarray) -> float:
    """Written out: choose on one half, judge on the other, less the whole set's choice there."""
    shown = max(scores, key=lambda layer: np.mean(average_precisions(scores[layer], labels)))
    judged, published = [], []
    for half in both_halves(len(labels), LIST):
        here = {x: np.mean(average_precisions(s[half], labels[half])) for x, s in scores.items()}
        best = max(here, key=lambda layer: here[layer])
        judged.append(np.mean(average_precisions(scores[best][~half], labels[~half])))
        published.append(np.mean(average_precisions(scores[shown][~half], labels[~half])))
    return float(np.mean(published) - np.mean(judged))


def test_the_best_layer_chosen_on_other_images(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    labels = scores_and_labels(0, 1.0)[1]
    scores = {layer: scores_and_labels(*how)[0] for layer, how in LAYERS.items()}
    svm_of_layers(tmp_path, "net", scores, labels)
    found = cells(tmp_path, capsys, "--ci")["net"]["SVM"]
    other = found["chosen_on_other_images"]
    assert other["difference"] == pytest.approx(by_hand(scores, labels), abs=1e-9)
    assert other["difference"] != 0
    assert other["value"] == pytest.approx(found["value"] - other["difference"])
    assert cells(tmp_path, capsys, "--ci")["net"]["SVM"] == found  # from what was kept
    assert "chosen_on_other_images" not in cells(tmp_path, capsys)["net"]["SVM"]
    main(["--zoo", str(tmp_path), "--ci"])
    said = capsys.readouterr().out
    assert f"net: SVM {other['value']:.2f} ({-other['difference']:+.2f})" in said
    main(["--zoo", str(tmp_path)])
    assert "other images" not in capsys.readouterr().out


def test_a_choice_that_every_half_makes_costs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    labels = scores_and_labels(0, 1.0)[1]
    scores = {"feature4": scores_and_labels(1, 0.2)[0], "feature5": scores_and_labels(2, 3.0)[0]}
    svm_of_layers(tmp_path, "net", scores, labels)
    found = cells(tmp_path, capsys, "--ci")["net"]["SVM"]
    assert found["chosen_on_other_images"]["difference"] == 0


def test_layer_and_cost_of_low_shot_svms(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    labels = scores_and_labels(0, 1.0)[1]
    scores = {layer: scores_and_labels(*how)[0] for layer, how in LAYERS.items()}
    svm_of_layers(tmp_path, "net", scores, labels)
    few = {
        layer: np.stack([scores_and_labels(10 * at + cost, 0.5)[0] for cost in range(4)])
        for at, layer in enumerate(scores, 1)
    }
    low_shot(tmp_path, "net", few, labels)
    found = cells(tmp_path, capsys, "--ci")["net"]["k=1"]["chosen_on_other_images"]

    def mean(one: np.ndarray, half: np.ndarray) -> float:
        return float(np.mean(average_precisions(one[half], labels[half])))

    whole = np.ones(len(labels), bool)
    shown = max(scores, key=lambda layer: mean(scores[layer], whole))
    published = max(few[shown], key=lambda one: mean(one, whole))
    differences = []
    for half in both_halves(len(labels), LIST):
        layer = max(scores, key=lambda layer: mean(scores[layer], half))
        chosen = max(few[layer], key=lambda one: mean(one, half))
        differences.append(mean(published, ~half) - mean(chosen, ~half))
    assert found["difference"] == pytest.approx(np.mean(differences), abs=1e-9)


def in_parts(
    zoo: Path,
    write: Any,
    scores: dict,
    labels: np.ndarray,
    parts: tuple[tuple[str, ...], ...],
    begin: int = 0,
) -> None:
    """What `write` makes, a record for each of `parts`: as commands with other --layers do."""
    for number, layers in enumerate(parts, begin):
        path = write(zoo, "net", {layer: scores[layer] for layer in layers}, labels)
        record = read_record(path)
        settings = record.settings | {"solver": "gram"}
        mine = path.with_name(f"part-{number}.json")
        results.write(mine, msgspec.structs.replace(record, precision="fp32", settings=settings))
        outcomes = path.with_name(f"{path.stem}.outcomes.safetensors")
        outcomes.rename(mine.with_name(f"{mine.stem}.outcomes.safetensors"))
        path.unlink()


FIVE = {f"feature{stage}": (stage, 0.9) for stage in range(1, 6)}
TWO_RUNS = (("feature1", "feature2", "feature3"), ("feature4", "feature5"))


def test_layers_of_two_runs_are_chosen_among_as_those_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    labels = scores_and_labels(0, 1.0)[1]
    scores = {layer: scores_and_labels(*how)[0] for layer, how in FIVE.items()}
    few = {
        layer: np.stack([scores_and_labels(10 * at + cost, 0.5)[0] for cost in range(4)])
        for at, layer in enumerate(scores, 1)
    }
    ways = {
        "one": (tuple(FIVE),),
        "two": TWO_RUNS,
        "five": tuple((layer,) for layer in reversed(FIVE)),
    }
    found, alone = {}, {}
    for way, parts in ways.items():
        in_parts(tmp_path / way, low_shot, few, labels, parts)
        alone[way] = cells(tmp_path / way, capsys, "--ci")["net"]["k=1"]["chosen_on_other_images"]
        in_parts(tmp_path / way, svm_of_layers, scores, labels, parts)
        row = cells(tmp_path / way, capsys, "--ci")["net"]
        found[way] = [row[name]["chosen_on_other_images"] for name in ("SVM", "k=1")]
        collection = collect(tmp_path / way)
        bounds = picture_bounds(measured_tables(collection), collection)
        assert len(bounds) == len(FIVE) + labels.shape[1]  # of every layer, and of every class
    assert found["one"][0]["difference"] == pytest.approx(by_hand(scores, labels), abs=1e-9)
    assert found["one"][0]["difference"] != 0
    assert found["two"] == found["one"] == found["five"]
    assert alone["two"] == alone["one"] == alone["five"]


def test_of_a_layer_of_two_runs_the_outcomes_are_those_of_the_figure_that_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The second run has the same mAP of the best layer, but gives its scores to other images."""
    labels = scores_and_labels(0, 1.0)[1]
    scores = {layer: scores_and_labels(*how)[0] for layer, how in FIVE.items()}
    best = max(scores, key=lambda layer: np.mean(average_precisions(scores[layer], labels)))
    a, b, c, d = (layer for layer in FIVE if layer != best)
    moved = np.arange(len(labels))
    for row in np.unique(labels, axis=0):
        alike = np.flatnonzero((labels == row).all(1))
        moved[alike] = np.roll(alike, 1)
    other = scores | {best: scores[best][moved]}
    kinds = (
        (svm_of_layers, scores, other),
        (low_shot, *({x: one[None] for x, one in some.items()} for some in (scores, other))),
    )
    found, bounds = {}, {}
    for way in ("one", "two"):
        zoo = tmp_path / way
        for write, first, second in kinds:
            if way == "one":
                in_parts(zoo, write, first, labels, (tuple(FIVE),))
            else:
                in_parts(zoo, write, first, labels, ((best, a, b),))
                in_parts(zoo, write, second, labels, ((best, c, d),), begin=1)
        row = cells(zoo, capsys, "--ci")["net"]
        found[way] = [row[name]["chosen_on_other_images"] for name in ("SVM", "k=1")]
        collection = collect(zoo)
        made = picture_bounds(measured_tables(collection), collection)
        bounds[way] = {name: ends for (_, name), ends in made.items()}
    assert found["one"][0]["difference"] == pytest.approx(by_hand(scores, labels), abs=1e-9)
    assert by_hand(scores, labels) != pytest.approx(by_hand(other, labels), abs=1e-3)
    assert found["two"] == found["one"]
    assert bounds["two"] == bounds["one"]


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("write", [svm_of_layers, low_shot])
def test_without_the_outcomes_of_one_run_no_choice_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture, write: Any, lost: int
) -> None:
    """Be the best layer in the run whose outcomes are lost, or in the other."""
    labels = scores_and_labels(0, 1.0)[1]
    scores = {layer: scores_and_labels(*how)[0] for layer, how in FIVE.items()}
    given = scores if write is svm_of_layers else {x: one[None] for x, one in scores.items()}
    in_parts(tmp_path, write, given, labels, TWO_RUNS)
    (path,) = tmp_path.glob(f"results/net/*/part-{lost}.json")
    results.write(path, msgspec.structs.replace(read_record(path), outcomes=None))
    for cell in cells(tmp_path, capsys, "--ci")["net"].values():
        assert "chosen_on_other_images" not in cell


def test_records_that_keep_too_little_say_so(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    labels = scores_and_labels(0, 1.0)[1]
    scores = {layer: scores_and_labels(*how)[0] for layer, how in LAYERS.items()}
    svm_of_layers(tmp_path, "net", scores, labels)
    low_shot(tmp_path, "net", {"feature5": scores["feature5"][None]}, labels)
    main(["--zoo", str(tmp_path), "--ci"])
    assert "not known of all figures of net" in capsys.readouterr().out


def test_of_equal_layers_it_is_what_choosing_on_the_test_images_adds() -> None:
    """Two layers of one true mAP: over many test sets the figure less its optimism is the truth."""
    rng = np.random.default_rng(0)
    images, sets = 120, 150
    found, added = [], []
    positive = rng.random(images) < 0.3
    for number in range(sets):
        scores = rng.normal(size=(2, images)) + positive
        first = both_halves(images, f"{number:064x}")[:SPLITS]
        whole, maps = (
            100 * ap for ap in halved_precisions(ranked(scores), positive.astype(np.int8), first)
        )
        names = ("a", "b")
        best = names[int(whole.argmax())]
        layers = dict(zip(names, maps, strict=True))
        found.append(optimism(layers, best, {name: one[None] for name, one in layers.items()}, 0))
        added.append(whole.max() - whole.mean())
    error = float(np.std(np.array(found) - added) / np.sqrt(sets))
    assert np.mean(added) > 1  # percent points: there is something to be found
    assert np.mean(found) == pytest.approx(np.mean(added), abs=3 * error)

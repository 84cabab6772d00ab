"""Choices made on other images than those that judge, from stored outcomes."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.metrics import ranked
from benchmarks.outcomes.files import SPLITS
from benchmarks.outcomes.halves import average_precisions as halved_precisions
from benchmarks.outcomes.halves import both_halves
from reports.__main__ import main
from reports.confidence.selection import optimism
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

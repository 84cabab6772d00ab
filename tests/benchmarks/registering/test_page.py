"""`show`: a page that a person reads."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from msgspec import to_builtins

from benchmarks.catalog.further.imagenet_knn import IMAGENET_KNN
from benchmarks.catalog.further.imagenet_logreg import IMAGENET_LOGREG
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.own import on_own_data
from benchmarks.checkpoints.cards import card_path, read_card
from benchmarks.checkpoints.fit import checkpoint_of
from benchmarks.registry import register
from benchmarks.results import Split
from tests.benchmarks.registering.conftest import ARCH, Answer, trunk
from tests.benchmarks.registering.test_renaming import make
from tests.reports.conftest import Zoo

ROOT = Path(__file__).parents[3]
Command = Callable[..., Answer]


def test_the_demos_checkpoint_is_a_page(tmp_path: Path, command: Command) -> None:
    for folder in ("checkpoints", "results"):
        shutil.copytree(ROOT / "docs" / "demo" / folder, tmp_path / folder)
    code, output, _ = command("show", "deepcluster-digits", zoo=tmp_path)
    lines = output.splitlines()
    assert code == 0
    assert lines[:2] == ["deepcluster-digits: resnet18, Sobel stem", "=" * 40]
    assert "  method         deepcluster" in lines
    assert "  images         1438 of 10 classes" in lines
    history = json.loads(card_path(tmp_path, "deepcluster-digits").read_text())["pretraining"]
    loss = f"{history['history']['loss'][-1]:.6g}"
    assert any(line.startswith(f"  last epoch     loss {loss}, ") for line in lines)
    assert "  voc07_svm: digits_voc07_svm, seed 0" in lines
    record = next(tmp_path.glob("results/deepcluster-digits/voc07_low_shot_svm/*.json"))
    shots = json.loads(record.read_text())["layers"]["feature3"]["shots"]
    figures = " ".join(f"k={k} {shots[k]['mean']:.2f}" for k in ("1", "2", "4", "8"))
    assert f"    feature3 {figures} " in output
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 100
    assert len(lines) < 60
    assert "identity" not in output
    assert "{" not in output


def test_results_are_told_apart(tmp_path: Path, command: Command) -> None:
    card = register(tmp_path, "net", trunk(0), arch=ARCH, sobel=False)
    zoo = Zoo(tmp_path, extra={"checkpoint": checkpoint_of(card)})
    epochs = replace(IMAGENET_LINEAR, epochs=8, variant="custom")
    zoo.probe("net", {"feature1": 10.0}, epochs, key="8")
    zoo.probe("net", {"feature1": 20.0}, replace(epochs, epochs=30), key="30")
    trees = on_own_data(replace(IMAGENET_KNN, variant="custom", feature="feature4"), "trees")
    own = {"benchmark": "own_knn", "variant": "custom", "settings": to_builtins(trees)}
    zoo.knn("net", {10: 40.0}, **own)
    for precision in ("fp32", "tf32"):
        zoo.knn("net", {10: 50.0}, key=precision, precision=precision)
    few = {"trainval": Split(40, 20, "ab"), "test": Split(2000, 20, "cd")}
    zoo.low_shot("net", {"feature4": [1.0] * 8, "feature5": [2.0] * 8}, data=few)
    costs = to_builtins(IMAGENET_LOGREG) | {"variant": "custom", "costs": [0.5, 1.0]}
    zoo.logreg("net", 60.0, 30.0, variant="custom", settings=costs)
    text = command("show", "net", zoo=tmp_path)[1].partition("Results\n")[2]
    lines = text.splitlines()
    assert all(line.startswith("  ") for line in lines)
    linear = IMAGENET_LINEAR.name
    for number, value in ((8, 10), (30, 20)):
        at = lines.index(f"  imagenet_linear: {linear}, seed 0; epochs {number} instead of 90")
        assert lines[at + 1] == f"    feature1 {value}.00"
    for precision in ("fp32", "tf32"):
        assert f"  imagenet_knn: knn_imagenet, seed 0; knn_imagenet-{precision}.json" in lines
    at = lines.index(
        "  own_knn of trees: knn_imagenet, seed 0; feature feature4 instead of avgpool"
    )
    assert lines[at + 1] == "    k=10 40.00"
    assert "  voc07_low_shot_svm: voc07_low_shot_svm, seed 0" in lines
    assert lines[lines.index("    (partial data, 2,040 of 9,963 images)") - 1].startswith(
        "    feature5 k=1 2.00 k=2 2.00"
    )
    assert "costs [0.5, 1.0] instead of 45 values\n" in text


def test_results_of_what_it_was_before_are_named(tmp_path: Path, command: Command) -> None:
    make(tmp_path)
    register(tmp_path, "old", trunk(1), arch=ARCH, sobel=False, force=True)
    output = command("show", "old", zoo=tmp_path)[1]
    assert output.count("  out of date    ") == 2
    assert " ".join(output.split()).count("is of earlier weights of old") == 2


def test_texts_of_a_card_do_not_reach_the_terminal_raw(tmp_path: Path, command: Command) -> None:
    make(tmp_path)
    path = card_path(tmp_path, "old")
    fields = json.loads(path.read_text())
    fields |= {"notes": ["\x1b[31mred"], "pretraining": {"\x1b[2J": {"a": "\u202e"}}}
    path.write_text(json.dumps(fields))
    output = command("show", "old", zoo=tmp_path)[1]
    assert all(line.isprintable() for line in output.splitlines())
    assert json.loads(command("show", "old", "--json", "-", zoo=tmp_path)[1])["name"] == "old"
    assert read_card(tmp_path, "old").notes == ("\x1b[31mred",)

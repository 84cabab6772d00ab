"""`show`: a page that a person reads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.checkpoints.cards import card_path, read_card
from benchmarks.registry import register
from tests.benchmarks.registering.conftest import ARCH, Answer, trunk
from tests.benchmarks.registering.test_renaming import make

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

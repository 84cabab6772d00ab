"""`remove`: says what hangs on a checkpoint, asks, and leaves results unless told otherwise."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.checkpoints.cards import card_path, registered_names
from reports.collect import collect
from tests.benchmarks.registering.conftest import Answer
from tests.benchmarks.registering.test_renaming import content, make

ROOT = Path(__file__).parents[3]
Command = Callable[..., Answer]


def test_it_says_what_hangs_on_it_and_wants_a_yes(tmp_path: Path, command: Command) -> None:
    make(tmp_path)
    before = content(tmp_path, "old")
    code, output, error = command("remove", "old", zoo=tmp_path)
    assert code == 2
    assert error == "error: old was not removed: say --yes to remove it\n"
    assert "old: test_resnet, weights " in output
    assert "2 result(s) in " in output
    assert "stay (--results removes them too): imagenet_linear 2" in output
    assert "a cache, which python -m benchmarks.features remove frees" in output
    code, output, _ = command("remove", "old", "--dry-run", "--yes", zoo=tmp_path)
    assert (code, output.splitlines()[-1]) == (0, "nothing was removed")
    assert content(tmp_path, "old") == before


def test_results_stay_unless_they_are_to_go(tmp_path: Path, command: Command) -> None:
    make(tmp_path)
    code, output, _ = command("remove", "old", "--yes", zoo=tmp_path)
    assert (code, output.splitlines()[-1]) == (0, "removed old")
    assert registered_names(tmp_path) == []
    assert not card_path(tmp_path, "old").parent.exists()
    assert len(collect(tmp_path).found) == 2
    code, _, error = command("remove", "old", "--yes", zoo=tmp_path)
    assert code == 2
    assert "unknown checkpoint" in error
    make(tmp_path)
    assert command("remove", "old", "--yes", "--results", zoo=tmp_path)[0] == 0
    assert not (tmp_path / "results" / "old").exists()
    assert not list((tmp_path / "results").iterdir())
    assert (tmp_path / "state" / "old").is_dir()


def test_a_damaged_card_can_be_removed(tmp_path: Path, command: Command) -> None:
    make(tmp_path)
    card_path(tmp_path, "old").write_text("{")
    code, output, _ = command("remove", "old", "--yes", zoo=tmp_path)
    assert code == 0
    assert "its card cannot be read" in output
    assert registered_names(tmp_path) == []


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"\n", 2), (b"no\n", 2)])
def test_on_a_terminal_it_asks(tmp_path: Path, answer: bytes, code: int) -> None:
    make(tmp_path)
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.registry", "remove", "old", "--zoo", str(tmp_path)],
        cwd=ROOT,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.write(master, answer)
    _, said = process.communicate(timeout=60)
    os.close(master)
    os.close(terminal)
    assert process.returncode == code
    assert said.startswith(b"remove old? [y/N] ")
    assert registered_names(tmp_path) == ([] if code == 0 else ["old"])

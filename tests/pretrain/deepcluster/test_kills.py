"""SIGKILL at each instant at which a run's files change: it always ends in the same bits."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import torch
from tiny import TINY, tiny_item

from pretrain.deepcluster.item import Pretrain

RECIPE = replace(TINY, epochs=1)
RESULTS = ("checkpoints/tiny/weights.safetensors", "checkpoints/tiny/card.json")


def run_until(item: Pretrain, number: int, *, before: bool) -> bool:
    """Run in a child that kills itself before or after its rename `number`; whether it ended."""
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        torch.set_num_threads(1)
        renames = 0
        replace_file, rename_file = Path.replace, Path.rename

        def counted(path: Path, target: Path, *, how: object) -> Path:
            nonlocal renames
            renames += 1
            if renames == number and before:
                os.kill(os.getpid(), signal.SIGKILL)
            done = how(path, target)  # type: ignore[operator]
            if renames == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return done  # type: ignore[no-any-return]

        Path.replace = lambda path, target: counted(path, target, how=replace_file)  # type: ignore[method-assign,assignment]
        Path.rename = lambda path, target: counted(path, target, how=rename_file)  # type: ignore[method-assign,assignment]
        try:
            item.run()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status == 0


def files_of(zoo: Path) -> set[str]:
    """The files that are there, but what a killed process left under a name of its own."""
    files = {str(path.relative_to(zoo)) for path in zoo.rglob("*") if path.is_file()}
    return {name for name in files if "/." not in name}


def test_a_run_killed_at_each_change_of_its_files_ends_in_the_same_bits(
    data: Path, tmp_path: Path
) -> None:
    whole = tiny_item(tmp_path / "whole", data, RECIPE)
    whole.run()
    item = tiny_item(tmp_path / "killed", data, RECIPE, keep=1, save_seconds=1e9)
    kept = [files_of(item.zoo)]
    number = 1
    # After the next change that gets on, or before the one that follows, by turns.
    while not run_until(item, number, before=len(kept) % 2 == 0):
        now = files_of(item.zoo)
        number = number + 1 if now == kept[-1] else 2
        kept.append(now)
        assert len(kept) < 40
    found = {frozenset(files) for files in kept}
    assert len(found) >= 5  # clustered, saved, kept, logged, registered
    trained = [files for files in found if "logs/tiny/deepcluster.jsonl" in files]
    assert any("checkpoints/tiny/card.json" not in files for files in trained)
    for result in RESULTS:
        assert (item.zoo / result).read_bytes() == (whole.zoo / result).read_bytes(), result
    assert item.done()
    assert len(item.log.read_text().splitlines()) == 1

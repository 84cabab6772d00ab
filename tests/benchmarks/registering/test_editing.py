"""Adding again, and `edit`: what is not given stays, and no old figure looks current."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch

from benchmarks.checkpoints.cards import card_path, read_card
from benchmarks.checkpoints.fit import checkpoint_of
from benchmarks.flags.trunk import add_trunk_flags
from benchmarks.registry import register
from benchmarks.trunks import find_trunk
from reports.collect import collect
from reports.measured import measured_tables
from slurm.cli import add_common_flags
from tests import processes
from tests.benchmarks.registering.conftest import ARCH, Answer, trunk
from tests.reports.conftest import Zoo

ROOT = Path(__file__).parents[3]
Command = Callable[..., Answer]


def add(file: Path, *more: str) -> tuple[str, ...]:
    return ("add", str(file), "--name", "net", "--arch", ARCH, *more)


def measure(zoo: Path, value: float, *, seed: int = 0, said: bool = True) -> Path:
    """A record of the checkpoint as it is; `said`: whether it says its pixels, as of late."""
    checkpoint = checkpoint_of(read_card(zoo, "net"))
    if not said:
        checkpoint = msgspec.structs.replace(checkpoint, mean=None, std=None)
    key = f"{value:g}"
    return Zoo(zoo).probe("net", {"feature1": value}, checkpoint=checkpoint, key=key, seed=seed)


def test_adding_again_keeps_what_is_not_given(tmp_path: Path, file: Path, command: Command) -> None:
    pixels = ("--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2")
    command(*add(file, "--method", "moco", "--config", "https://a/b", *pixels), zoo=tmp_path)
    command("edit", "net", "--note", "trained for 3 epochs", zoo=tmp_path)
    before = read_card(tmp_path, "net")
    assert (before.method, before.config, before.std) == ("moco", "https://a/b", (0.2,) * 3)
    code, _, error = command(*add(file), zoo=tmp_path)
    assert (code, read_card(tmp_path, "net")) == (0, before), error
    command(*add(file, "--method", "swav"), zoo=tmp_path)
    assert read_card(tmp_path, "net") == msgspec.structs.replace(before, method="swav")


def test_other_weights_keep_only_what_is_true_of_them_too(
    tmp_path: Path, file: Path, command: Command
) -> None:
    register(
        tmp_path, "net", trunk(1), arch=ARCH, sobel=False, method="dc", pretraining={"epochs": 3}
    )
    command("edit", "net", "--note", "epoch 3", zoo=tmp_path)
    assert command(*add(file), zoo=tmp_path)[0] == 2
    assert command(*add(file, "--force"), zoo=tmp_path)[0] == 0
    card = read_card(tmp_path, "net")
    assert (card.method, card.pretraining, card.remarks) == ("dc", {}, ())


def test_twins_that_add_different_fields_lose_none(
    tmp_path: Path, file: Path, command: Command
) -> None:
    command(*add(file), zoo=tmp_path)
    fields = (["--method", "moco"], ["--config", "https://a/b"])
    notes = (["--note", "one"], ["--note", "two"])
    words = [[*add(file), *field] for field in fields] + [["edit", "net", *note] for note in notes]
    twins = [processes.start("-m", "benchmarks.registry", *w, "--zoo", tmp_path) for w in words]
    assert [process.wait(120) for process in twins] == [0] * 4
    card = read_card(tmp_path, "net")
    assert (card.method, card.config, set(card.remarks)) == ("moco", "https://a/b", {"one", "two"})


def test_a_change_of_pixels_leaves_no_old_figure_looking_current(
    tmp_path: Path, file: Path, command: Command
) -> None:
    command(*add(file), zoo=tmp_path)
    first = measure(tmp_path, 10.0)
    unsaid = measure(tmp_path, 20.0, seed=1, said=False)
    assert len(collect(tmp_path).found) == 2
    pixels = ("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")
    code, output, _ = command("edit", "net", *pixels, zoo=tmp_path)
    assert code == 0
    assert "2 result(s) no longer fit and are left out of the tables" in output
    assert str(first) in output
    assert str(unsaid) in output
    assert not collect(tmp_path).found
    # Only the card was touched, and the record that did not say what it was measured with.
    new = measure(tmp_path, 30.0)
    assert [one.path for one in collect(tmp_path).found] == [new]
    # The same by adding with --force.
    code, output, _ = command(
        *add(file, "--mean", "0.1,0.1,0.1", "--std", "0.25,0.25,0.25", "--force"), zoo=tmp_path
    )
    assert code == 0
    assert "3 result(s) no longer fit" in output


def test_edit_changes_what_is_given_and_nothing_else(
    tmp_path: Path, file: Path, command: Command
) -> None:
    command(*add(file, "--method", "moco"), zoo=tmp_path)
    before = read_card(tmp_path, "net")
    weights = card_path(tmp_path, "net").with_name("weights.safetensors").stat().st_mtime_ns
    code, output, _ = command(
        "edit", "net", "--config", "a.py", "--note", "\x1b[31mred", "--json", "-", zoo=tmp_path
    )
    card = read_card(tmp_path, "net")
    assert (code, json.loads(output)["config"]) == (0, "a.py")
    assert card == msgspec.structs.replace(before, config="a.py", remarks=("\x1b[31mred",))
    assert weights == card_path(tmp_path, "net").with_name("weights.safetensors").stat().st_mtime_ns
    command("edit", "net", "--method", "", "--no-notes", zoo=tmp_path)
    assert read_card(tmp_path, "net") == msgspec.structs.replace(before, config="a.py", method=None)
    for words, says in (
        (("edit", "net"), "nothing to change"),
        (("edit", "nett", "--method", "x"), "did you mean net?"),
        (("edit", "net", "--note", " "), "--note is empty"),
    ):
        code, _, error = command(*words, zoo=tmp_path)
        assert (code, error.count("\n")) == (2, 1)
        assert says in error


def test_a_note_of_the_user_stands_under_the_tables_and_in_records(
    tmp_path: Path, file: Path, command: Command
) -> None:
    command(*add(file), zoo=tmp_path)
    measure(tmp_path, 10.0)
    command("edit", "net", "--note", "trained for 3 epochs", zoo=tmp_path)
    (table,) = measured_tables(collect(tmp_path))
    assert "net: trained for 3 epochs" in table.remarks
    words = ["--ckpt", "net", "--zoo", str(tmp_path)]
    parser = argparse.ArgumentParser()
    add_trunk_flags(parser)
    add_common_flags(parser)
    assert "trained for 3 epochs" in find_trunk(parser.parse_args(words)).notes


def test_a_method_that_registers_its_trunk_again_keeps_the_users_notes(
    tmp_path: Path, command: Command
) -> None:
    options = {"arch": ARCH, "sobel": False}
    register(tmp_path, "net", trunk(0), **options)  # type: ignore[arg-type]
    command("edit", "net", "--note", "mine", zoo=tmp_path)
    again = register(tmp_path, "net", trunk(0), **options, method="dc")  # type: ignore[arg-type]
    assert (again.remarks, read_card(tmp_path, "net")) == (("mine",), again)
    other = register(tmp_path, "net", trunk(1), **options, force=True)  # type: ignore[arg-type]
    assert other.remarks == ()


def test_same_weights_of_another_network_need_force(
    tmp_path: Path, file: Path, command: Command
) -> None:
    command(*add(file), zoo=tmp_path)
    torch.save({"state_dict": trunk(1)}, file)
    code, _, error = command(*add(file), zoo=tmp_path)
    assert code == 2
    assert "has another checkpoint 'net'" in error
    code, output, _ = command(*add(file, "--dry-run"), zoo=tmp_path)
    assert code == 0
    assert "another checkpoint is called net: --force would replace it" in output

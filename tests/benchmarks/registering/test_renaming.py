"""`rename`: everything follows, whoever interrupts it, and nothing of another checkpoint goes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.catalog.records import read_record
from benchmarks.checkpoints import placing
from benchmarks.checkpoints.cards import read_card, registered_names
from benchmarks.checkpoints.fit import checkpoint_of
from benchmarks.registering import renaming
from benchmarks.registering.records import records_of
from benchmarks.registry import load_backbone, register
from reports.collect import collect
from tests import processes
from tests.benchmarks.registering.conftest import ARCH, Answer, trunk
from tests.reports.conftest import Zoo

ROOT = Path(__file__).parents[3]
Command = Callable[..., Answer]


def make(zoo: Path, name: str = "old", seed: int = 0) -> None:
    """A checkpoint with two records, a part of one, cached features, a state and a log."""
    card = register(zoo, name, trunk(seed), arch=ARCH, sobel=False, method="moco")
    for number in (0, 1):
        path = Zoo(zoo).probe(name, {"feature1": 10.0}, checkpoint=checkpoint_of(card), seed=number)
    for file in (
        f"results/{name}/voc07_svm/parts/feature1-0123.json",
        f"features/{name}/voc07-0123/complete.json",
        f"state/{name}/probe.pt",
        f"logs/{name}/deepcluster.jsonl",
        str(path.with_suffix(".outcomes.safetensors").relative_to(zoo)),
    ):
        (zoo / file).parent.mkdir(parents=True, exist_ok=True)
        (zoo / file).write_text("{}\n")


def content(zoo: Path, name: str) -> dict[str, Any]:
    """Files that belong to a name; records decoded, with the name replaced."""
    found: dict[str, Any] = {}
    for path in sorted(zoo.rglob("*")):
        if path.is_file() and name in path.relative_to(zoo).parts and path.name[0] != ".":
            text: Any = path.read_bytes()
            if path.parent.name == "imagenet_linear" and path.suffix == ".json":
                record = read_record(path)
                assert record.checkpoint.name == name
                text = msgspec.structs.replace(
                    record, checkpoint=msgspec.structs.replace(record.checkpoint, name="it")
                )
            elif path.name == "card.json":
                text = msgspec.structs.replace(read_card(zoo, name), name="it")
            found[str(path.relative_to(zoo)).replace(f"/{name}/", "/it/")] = text
    return found


def test_everything_follows_a_name(tmp_path: Path, command: Command) -> None:
    make(tmp_path)
    before = content(tmp_path, "old")
    assert len(before) == 9
    code, output, error = command("rename", "old", "new", zoo=tmp_path)
    assert code == 0, error
    assert "old to new, 2 result(s)" in output
    assert content(tmp_path, "new") == before
    assert content(tmp_path, "old") == {}
    assert registered_names(tmp_path) == ["new"]
    load_backbone(tmp_path, "new")
    assert [one.record.checkpoint.name for one in collect(tmp_path).found] == ["new", "new"]
    assert not [path for path in tmp_path.rglob("*") if "old" in path.name]


def test_what_has_the_name_already_is_never_touched(tmp_path: Path, command: Command) -> None:
    make(tmp_path)
    make(tmp_path, "new", seed=1)
    Zoo(tmp_path).probe("gone", {"feature1": 10.0})
    before = content(tmp_path, "old") | content(tmp_path, "new")
    for new, says in (
        ("new", "has another checkpoint 'new': choose another name"),
        ("gone", "holds results of an earlier gone"),
        ("random-x", "kept for random trunks"),
        ("a/b", "not usable as a file name"),
        ("old", "has that name already"),
    ):
        code, _, error = command("rename", "old", new, zoo=tmp_path)
        assert (code, error.count("\n")) == (2, 1)
        assert says in error
    code, _, error = command("rename", "ol", "x", zoo=tmp_path)
    assert code == 2
    assert "did you mean old?" in error
    assert content(tmp_path, "old") | content(tmp_path, "new") == before


def test_a_record_that_cannot_be_read_is_mended_first(tmp_path: Path, command: Command) -> None:
    make(tmp_path)
    (path, *_) = [one.path for one in records_of(tmp_path, "old")[0]]
    path.write_text("{")
    code, _, error = command("rename", "old", "new", zoo=tmp_path)
    assert code == 2
    assert "mend or remove it first" in error
    assert registered_names(tmp_path) == ["old"]


class Cut(BaseException):
    """The process ends here."""


STEPS = 24  # more than there are


@pytest.mark.parametrize("step", range(STEPS))
def test_cut_off_anywhere_the_same_command_goes_on(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """After each change of the disk: no figure is lost or stands under a name of other weights."""
    make(tmp_path)
    before = content(tmp_path, "old")
    count = iter(range(1000))

    def cut(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **words: Any) -> Any:
            if next(count) == step:
                raise Cut
            return function(*args, **words)

        return wrapped

    with monkeypatch.context() as patch:
        for owner, name in (
            (renaming, "write_bytes"),
            (renaming, "_link"),
            (placing, "place_new"),
            (placing, "remove"),
            (Path, "rename"),
            (Path, "unlink"),
            (Path, "rmdir"),
        ):
            patch.setattr(owner, name, cut(getattr(owner, name)))
        try:
            command("rename", "old", "new", zoo=tmp_path)
            ended = True
        except Cut:
            ended = False
    whole = [name for name in ("old", "new") if name in registered_names(tmp_path)]
    assert whole
    for name in whole:
        load_backbone(tmp_path, name)
    collect(tmp_path)  # no clash, and nothing in another's place
    if "old" in whole:
        code, _, error = command("rename", "old", "new", zoo=tmp_path)
        assert code == 0, error
    assert content(tmp_path, "new") == before
    assert registered_names(tmp_path) == ["new"]
    if step == STEPS - 1:
        assert ended, "more steps than are tried"


def test_of_twins_that_want_one_name_one_gets_it(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        make(tmp_path, name, seed=number)
    both = {name: content(tmp_path, name) for name in ("a", "b")}
    env = os.environ | {"ZOO": str(tmp_path)}
    twins = {
        name: processes.start("-m", "benchmarks.registry", "rename", name, "c", env=env)
        for name in both
    }
    ends = {name: (one.communicate(timeout=120)[1], one.returncode) for name, one in twins.items()}
    (won,) = [name for name, (_, code) in ends.items() if code == 0]
    (lost,) = set(both) - {won}
    assert ends[lost][1] == 2
    assert content(tmp_path, "c") == both[won]
    assert content(tmp_path, lost) == both[lost]


def test_a_folder_that_is_gone_is_not_locked(tmp_path: Path) -> None:
    """Who waited for a checkpoint that was taken away meanwhile does not write into nothing."""
    folder = tmp_path / "it"
    folder.mkdir()
    with placing.alone(folder):
        held = (folder / ".lock").open("ab")
        placing.remove(folder)
    assert not placing._is_at(held, folder / ".lock")
    held.close()
    with pytest.raises(placing.Gone), placing.alone(folder):
        pass

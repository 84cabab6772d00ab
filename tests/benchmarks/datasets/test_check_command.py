"""`python -m benchmarks.datasets check`: what a copy lacks, and that a killed check goes on."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.datasets.__main__ import main
from benchmarks.datasets.loading import fingerprints, load_dataset
from benchmarks.images import checking, copies
from benchmarks.images.checking import check_notes
from slurm.cli import run_command
from slurm.errors import UserError
from tests.benchmarks.images.test_checking import damaged_within
from tests.benchmarks.voc_data import COUNTS, write_voc

SIZES = {"voc07": {split: (count, 2) for split, count in COUNTS.items()}}


@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget()
    monkeypatch.setitem(copies.OFFICIAL, "voc07", SIZES["voc07"])
    return write_voc(tmp_path / "VOC2007")


def forget() -> None:
    """What another process does not remember."""
    load_dataset.cache_clear()
    fingerprints.cache_clear()


def check(folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """The exit code and what `--json` says."""
    forget()
    path = folder.parent / "found.json"
    zoo = str(folder.parent / "zoo")
    words = ["check", str(folder), "--zoo", zoo, "--workers", "0", "--json", str(path), *more]
    with pytest.raises(SystemExit) as end:
        run_command(main, words)
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    assert isinstance(end.value.code, int)
    return end.value.code, found


def test_a_whole_copy(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = check(voc)
    assert code == 0
    assert (found["dataset"], found["whole"]) == ("voc07", True)
    assert capsys.readouterr().out.splitlines() == [
        f"voc07 in {voc}",
        "trainval: 24 images of 2 classes: whole",
        "test: 10 images of 2 classes: whole",
    ]


def test_every_fault_is_counted_and_named(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (voc / "JPEGImages/000003.jpg").unlink()
    (voc / "JPEGImages/000004.jpg").write_bytes(b"Not found")
    (voc / "JPEGImages/000005.jpg").write_bytes(damaged_within())
    (voc / "JPEGImages/000501.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    code, found = check(voc)
    assert code == 2
    assert not found["whole"]
    trainval, test = found["splits"]["trainval"], found["splits"]["test"]
    assert list(trainval["missing"]) == ["000003.jpg"]
    assert list(trainval["unreadable"]) == ["000004.jpg"]
    assert (trainval["warned"], list(trainval["warnings"])) == (1, ["000005.jpg"])
    assert "Git LFS pointer" in test["unreadable"]["000501.jpg"]
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == (
        f"error: {voc} is no whole copy of voc07: trainval: 1 missing, 1 unreadable; "
        "test: 1 unreadable"
    )
    assert "  missing: 000003.jpg" in said.out
    assert "  damaged within: 000005.jpg: Corrupt JPEG data" in said.out


def test_damage_within_alone_is_said_but_is_no_fault(voc: Path) -> None:
    """Official copies have images of which libjpeg warns."""
    (voc / "JPEGImages/000005.jpg").write_bytes(damaged_within())
    code, found = check(voc)
    assert (code, found["splits"]["trainval"]["warned"]) == (0, 1)
    # the records of this zoo say so too
    (note,) = check_notes(voc.parent / "zoo", "voc07", fingerprints("voc07", voc))
    assert note.startswith("1 of 24 images of trainval may be damaged within")


@pytest.mark.parametrize(
    ("official", "says"),
    [
        ({"trainval": (25, 2), "test": (10, 2)}, "trainval: 24 images instead of 25"),
        ({"trainval": (24, 2), "test": (10, 20)}, "test: 2 classes instead of 20"),
    ],
)
def test_other_sizes_than_the_official_ones_are_no_whole_copy(
    voc: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    official: dict[str, tuple[int, int]],
    says: str,
) -> None:
    monkeypatch.setitem(copies.OFFICIAL, "voc07", official)
    assert check(voc)[0] == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"no whole copy of voc07: {says}")


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on, in groups of four."""
    seen: list[str] = []
    original = checking.check_file

    def count(path: str) -> tuple[str, str]:
        seen.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(checking, "check_file", count)
    monkeypatch.setattr(checking, "TOGETHER", 4)
    return seen


def test_a_check_that_was_interrupted_goes_on(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (voc / "JPEGImages/000002.jpg").write_bytes(b"x")
    (voc / "JPEGImages/000012.jpg").write_bytes(damaged_within())
    enter = checking.Findings.enter
    with monkeypatch.context() as patch:
        # in the middle of a group of four, after the damaged image of it was entered
        def end(found: checking.Findings, name: str, error: str, warning: str) -> None:
            if name == "000013.jpg":
                raise KeyboardInterrupt
            enter(found, name, error, warning)

        patch.setattr(checking.Findings, "enter", end)
        patch.setattr(checking, "TOGETHER", 4)
        assert check(voc)[0] == 130
    with monkeypatch.context() as patch:
        then = decoded(patch)
        code, found = check(voc)
    assert code == 2
    assert len(then) == sum(COUNTS.values()) - 12 + 1  # whole groups count; the broken one again
    assert list(found["splits"]["trainval"]["unreadable"]) == ["000002.jpg"]
    assert found["splits"]["trainval"]["warned"] == 1


def test_after_a_repair_only_the_broken_files_are_decoded(
    voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = (voc / "JPEGImages/000002.jpg").read_bytes()
    bad = good[: len(good) // 2]
    (voc / "JPEGImages/000002.jpg").write_bytes(bad + bytes(len(good) - len(bad)))
    (voc / "JPEGImages/000003.jpg").write_bytes(bytes(4))
    sizes = fingerprints("voc07", voc)
    assert check(voc)[0] == 2
    (voc / "JPEGImages/000002.jpg").write_bytes(good)
    forget()
    assert fingerprints("voc07", voc) == sizes  # else all are other images, and are decoded anew
    with monkeypatch.context() as patch:
        then = decoded(patch)
        assert check(voc)[0] == 2
    assert sorted(then) == ["000002.jpg", "000003.jpg"]
    with monkeypatch.context() as patch:
        then = decoded(patch)
        assert check(voc, "--again")[0] == 2
    assert len(then) == sum(COUNTS.values())


def test_a_file_that_vanished_after_a_check_is_missing(
    voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of whose size is in the fingerprint, so that the earlier findings are found."""
    big = write_voc(voc.parent / "big/VOC2007", {"trainval": 300, "test": 10})
    monkeypatch.setitem(copies.OFFICIAL, "voc07", {"trainval": (300, 2), "test": (10, 2)})
    assert check(big)[0] == 0
    planned = fingerprints("voc07", big)
    (big / "JPEGImages/000001.jpg").unlink()
    forget()
    assert fingerprints("voc07", big) == planned
    code, found = check(big)
    assert (code, list(found["splits"]["trainval"]["missing"])) == (2, ["000001.jpg"])


def test_the_dataset_is_guessed_where_the_tree_is_clear(tmp_path: Path, digits: Path) -> None:
    for place, name in (
        ("VOCdevkit/VOC2007", "voc07"),
        ("places205", "places205"),
        ("inaturalist2018", "inaturalist18"),
    ):
        assert copies.guess_dataset(digits / place) == name
    for path in ("train/n01440764", "val"):
        (tmp_path / "ilsvrc" / path).mkdir(parents=True)
    assert copies.guess_dataset(tmp_path / "ilsvrc") == "imagenet"
    with pytest.raises(UserError, match=r"--dataset imagenet\|places205.*: its tree is of no"):
        copies.guess_dataset(digits / "imagenet")
    own = rf"a benchmark: --own NAME --data {digits}/imagenet --check-images$"
    with pytest.raises(UserError, match=own):
        copies.guess_dataset(digits / "imagenet")
    (tmp_path / "ilsvrc/trainvalsplit_places205").mkdir()
    with pytest.raises(UserError, match="it could be places205 or imagenet"):
        copies.guess_dataset(tmp_path / "ilsvrc")
    with pytest.raises(UserError, match=r"check each by itself: .*/imagenet, .*/VOC2007"):
        copies.guess_dataset(digits)
    with pytest.raises(UserError, match=r"holds VOC2007: check .*VOCdevkit/VOC2007"):
        copies.guess_dataset(digits / "VOCdevkit")


@pytest.mark.parametrize("words", [["nowhere"], ["README.md"], [""], [".", "--json", ""]])
def test_mistakes_are_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_command(main, ["check", *words])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_sizes_are_those_that_the_datasets_say() -> None:
    """Which the first lines of their files repeat."""
    from benchmarks.datasets import imagenet, inaturalist18, places205, voc07

    modules = {"imagenet": imagenet, "places205": places205, "voc07": voc07}
    for name, module in (modules | {"inaturalist18": inaturalist18}).items():
        for images, classes in copies.OFFICIAL[name].values():
            assert f"{images:,}" in (module.__doc__ or "")
            assert f"{classes:,}" in (module.__doc__ or "")


def test_a_killed_process_goes_on(tmp_path: Path, digits: Path) -> None:
    """By SIGTERM, as a scheduler ends it, while its worker decodes on."""
    data = shutil.copytree(digits / "places205", tmp_path / "places205")
    command = [sys.executable, "-m", "benchmarks.datasets", "check", str(data), "--zoo"]
    command += [str(tmp_path / "zoo"), "--workers", "1"]
    program = (
        "import os, signal\n"
        "from benchmarks.images import checking\n"
        "from benchmarks.datasets.__main__ import main\n"
        "from slurm.cli import run_command\n"
        "enter = checking.Findings.enter\n"
        "def once(found, name, *what):\n"
        "    enter(found, name, *what)\n"
        "    if found.done >= 256:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "checking.Findings.enter = once\n"
        "run_command(main)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, *command[3:]], capture_output=True, text=True, timeout=120
    )
    assert killed.returncode == 128 + signal.SIGTERM, killed.stderr
    (state,) = (tmp_path / "zoo/checks").glob("*.partial.json")
    done = json.loads(state.read_text())["done"]
    assert 0 < done < 721
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert again.returncode == 2
    assert "train: 721 images instead of 2,448,873" in again.stderr.splitlines()[-1]
    assert not list((tmp_path / "zoo/checks").glob("*.partial.json"))

"""One file under two names: between the splits, within one, by symbolic and by hard links."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.datasets.imagenet import load
from benchmarks.datasets.reading import same_files
from benchmarks.datasets.splits import ImageSplit
from slurm.errors import UserError

NOTE = "images that are the same file as another, by links: "


def write(folder: Path, ending: str = "png") -> Path:
    """Three classes of four images in train, two in val."""
    draws = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for label in "abc":
            for number in range(count):
                path = folder / split / label / f"{split}{number}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draws.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)
    return folder


def write_lists(folder: Path) -> None:
    (folder / "meta").mkdir()
    for split in ("train", "val"):
        paths = sorted((folder / split).glob("*/*"))
        lines = [f"{path.relative_to(folder / split)} {'abc'.index(path.parent.name)}\n"
                 for path in paths]  # fmt: skip
        (folder / "meta" / f"{split}.txt").write_text("".join(lines))


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize(
    ("there", "name", "why"),
    [
        ("train/a/train1.png", "val/a/x.png", "no image may be trained on and tested"),
        ("train/a/train1.png", "train/b/x.png", "keep the right class"),
        ("train/a/train1.png", "train/a/x.png", "would count twice: keep one"),
        ("val/a/val1.png", "val/c/x.png", "keep the right class"),
    ],
)
def test_two_names_of_a_file_are_refused(
    tmp_path: Path, there: str, name: str, why: str, link: Callable[..., None], listed: bool
) -> None:
    write(tmp_path)
    link(tmp_path / there, tmp_path / name)
    if listed:
        write_lists(tmp_path)
    with pytest.raises(UserError, match="are the same file, by a link") as caught:
        load(tmp_path)
    assert why in str(caught.value)
    assert {str(tmp_path / there), str(tmp_path / name)} <= set(str(caught.value).split())


@pytest.mark.parametrize("listed", [False, True])
def test_a_subset_made_of_links_is_read(tmp_path: Path, listed: bool) -> None:
    whole = write(tmp_path / "whole")
    for path in whole.glob("*/*/*1.png"):
        there = tmp_path / "part" / path.relative_to(whole)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(path)
    if listed:
        write_lists(tmp_path / "part")
    assert len(load(tmp_path / "part").splits["train"].paths) == 3


def test_equal_numbers_on_two_devices_are_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a file says which it is only within its device."""
    write(tmp_path)
    monkeypatch.setattr("benchmarks.datasets.reading.folders._inode", lambda entry: 7)
    assert load(tmp_path).notes == ()
    monkeypatch.setattr(same_files, "MANY", 0.5)
    (tmp_path / "val/a/val0.png").unlink()
    os.link(tmp_path / "train/a/train1.png", tmp_path / "val/a/val0.png")
    assert [note.partition(", such")[0] for note in load(tmp_path).notes] == [NOTE + "1"]


@pytest.mark.parametrize("listed", [False, True])
def test_a_few_copies_that_a_store_keeps_once_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    """Among 6 images of val one is too many; here up to half of them are few."""
    monkeypatch.setattr(same_files, "MANY", 0.5)
    write(tmp_path)
    (tmp_path / "val/a/val0.png").unlink()
    os.link(tmp_path / "train/a/train1.png", tmp_path / "val/a/val0.png")
    if listed:
        write_lists(tmp_path)
    notes = load(tmp_path).notes
    assert [note.partition(", such")[0] for note in notes] == [NOTE + "1"]
    for label, number in (("b", 0), ("b", 1), ("c", 0)):
        (tmp_path / f"val/{label}/val{number}.png").unlink()
        trained = tmp_path / f"train/{label}/train{number}.png"
        os.link(trained, tmp_path / f"val/{label}/val{number}.png")
    with pytest.raises(UserError, match="no image may be trained on and tested"):
        load(tmp_path)


def test_long_lists_are_not_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    os.link(tmp_path / "train/a/train1.png", tmp_path / "val/a/x.png")
    write_lists(tmp_path)
    monkeypatch.setattr(same_files, "FEW", 18)  # there are 19
    assert len(load(tmp_path).splits["val"].paths) == 7


@pytest.mark.parametrize("ending", ["bmp", "ppm", "tif"])
def test_other_images_of_the_same_size_have_another_fingerprint(
    tmp_path: Path, ending: str
) -> None:
    """Files without compression have the size that width and height give them."""
    write(tmp_path, ending)
    before: ImageSplit = load(tmp_path).splits["train"]
    planned = before.fingerprint()
    assert before.fingerprint() == planned
    sizes = []
    for path in tmp_path.glob("train/*/*"):
        sizes.append(path.stat().st_size)
        Image.fromarray(np.full((9, 9, 3), 77, np.uint8)).save(path)
        assert path.stat().st_size == sizes[-1]
    assert load(tmp_path).splits["train"].fingerprint() != planned

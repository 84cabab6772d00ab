"""The embedded data: deterministic, honest splits, written whole or not at all."""

import filecmp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

from benchmarks.datasets import digits as module
from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.digit_images import load_splits
from benchmarks.images.decoding import open_image
from slurm.errors import UserError


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_no_digit_is_in_training_and_held_out() -> None:
    train, val = load_splits()
    everything = load_digits()
    seen = {pixels.tobytes() for pixels in train.pixels}
    assert not any(pixels.tobytes() in seen for pixels in val.pixels)
    assert len(train.labels) + len(val.labels) == len(everything.target)
    totals = np.bincount(everything.target)
    assert np.abs(np.bincount(val.labels) - totals / 5).max() <= 0.5
    # Held out are the last of each class.
    zeros = everything.images[everything.target == 0]
    assert np.array_equal(val.pixels[val.labels == 0], zeros[-36:])


def test_the_picture_of_a_digit_shows_that_digit(digits: Path) -> None:
    split = DATASETS["imagenet"].load(digits / "imagenet").splits["val"]
    _, val = load_splits()
    for row in range(0, len(split.paths), 40):
        picture = np.asarray(open_image(split.root / split.paths[row]).convert("L"), dtype=float)
        # It is 24 pixels wide and up to 4 off the centre of the 40.
        windows = [picture[y : y + 24, x : x + 24] for y in range(4, 13) for x in range(4, 13)]
        small = [window.reshape(8, 3, 8, 3).mean((1, 3)).ravel() for window in windows]
        drawn = val.pixels[row % len(val.labels)].ravel()  # each is there twice
        assert max(np.corrcoef(s, drawn)[0, 1] for s in small) > 0.98


@pytest.mark.parametrize("name", ["imagenet", "places205", "inaturalist18"])
def test_digits_are_light_on_dark_and_off_the_centre(digits: Path, name: str) -> None:
    """What is pretrained on is so, and gradients that all turn around are another world."""
    split = DATASETS[name].load(digits / DATASETS[name].folder).splits["val"]
    moves = []
    for path in split.paths[:150]:
        grey = np.asarray(open_image(split.root / path).convert("L"), dtype=float)
        border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        ink = np.clip(grey - border.max(), 0, None)
        assert ink.max() > 50
        rows, columns = np.mgrid[:40, :40]
        moves.append([(ink * rows).sum() / ink.sum(), (ink * columns).sum() / ink.sum()])
    spread = np.std(moves, axis=0)
    assert (spread > 2).all()  # of -4 .. 4 it is 2.6
    assert np.abs(np.mean(moves, axis=0) - 19.5).max() < 1.5


@pytest.mark.parametrize(
    ("name", "floor"), [("imagenet", 0.4), ("places205", 0.35), ("inaturalist18", 0.2)]
)
def test_each_variant_can_be_learned_from_pixels(digits: Path, name: str, floor: float) -> None:
    """A little: chance is 0.1, and the digits are off the centre."""
    features, labels = {}, {}
    for key, split in DATASETS[name].load(digits / DATASETS[name].folder).splits.items():
        pictures = [open_image(split.root / path).resize((12, 12)) for path in split.paths]
        features[key] = np.stack([np.asarray(picture).ravel() / 255 - 0.5 for picture in pictures])
        labels[key] = split.labels
    model = RidgeClassifier(alpha=30).fit(features["train"], labels["train"])
    assert model.score(features["val"], labels["val"]) > floor


def test_low_shot_draws_exist_up_to_96(digits: Path) -> None:
    """k positives and 19 k negatives of every class."""
    labels = DATASETS["voc07"].load(digits / DATASETS["voc07"].folder).splits["trainval"].labels
    assert ((labels == 1).sum(0) >= 96).all()
    assert ((labels == 0).sum(0) >= 19 * 96).all()
    assert ((labels == -1).sum(0) > 0).all()


def test_the_same_bytes_each_time(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WRITERS", {"inaturalist18": module._write_inaturalist18})
    module.write_digits(tmp_path)
    first, second = tmp_path / "inaturalist2018", digits / "inaturalist2018"
    assert _files(first) == _files(second)
    assert filecmp.cmpfiles(first, second, _files(first), shallow=False)[0] == _files(first)


def test_a_scene_does_not_depend_on_the_others(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRAINVAL_SCENES", 7)
    monkeypatch.setattr(module, "TEST_SCENES", 1)
    module._write_voc07(tmp_path / "few")
    for number in range(1, 8):
        for path in (f"JPEGImages/{number:06d}.jpg", f"Annotations/{number:06d}.xml"):
            full = digits / "VOCdevkit/VOC2007" / path
            assert (tmp_path / "few" / path).read_bytes() == full.read_bytes()


def test_finished_datasets_are_kept_and_nothing_else_is_left(digits: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in digits.rglob("*")}
    module.write_digits(digits)
    assert {path: path.stat().st_mtime_ns for path in digits.rglob("*")} == before
    assert not list(digits.rglob("*.tmp"))
    assert sorted(path.name for path in digits.iterdir()) == sorted(
        {DATASETS[name].folder.split("/")[0] for name in module._WRITERS}
    )


@pytest.fixture
def tiny_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / "content").write_text(module.VERSION)

    monkeypatch.setattr(module, "_WRITERS", {"imagenet": write})


@pytest.mark.usefixtures("tiny_writer")
def test_an_older_version_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module.write_digits(tmp_path)
    monkeypatch.setattr(module, "VERSION", "next")
    module.write_digits(tmp_path)
    assert (tmp_path / "imagenet/content").read_text() == "next"


@pytest.mark.usefixtures("tiny_writer")
def test_a_folder_of_somebody_else_is_never_touched(tmp_path: Path) -> None:
    theirs = tmp_path / "imagenet/train/n01/precious.jpg"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("x")
    with pytest.raises(UserError, match="imagenet exists but does not hold the embedded digits"):
        module.write_digits(tmp_path)
    assert _files(tmp_path) == ["imagenet/train/n01/precious.jpg"]


@pytest.mark.usefixtures("tiny_writer")
def test_old_leftovers_go_and_a_live_writer_stays(tmp_path: Path) -> None:
    old, live = tmp_path / ".imagenet.1.aa.tmp", tmp_path / ".imagenet.2.bb.tmp"
    for left in (old, live):
        left.mkdir()
    os.utime(old, (time.time() - 90000,) * 2)
    module.write_digits(tmp_path)
    assert not old.exists()
    assert live.exists()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(folder: Path) -> None:
        folder.mkdir()
        (folder / "half").write_text("x")
        raise OSError(28, "No space left on device", str(folder / "half"))

    monkeypatch.setattr(module, "_WRITERS", {"imagenet": full_disk})
    with pytest.raises(OSError, match="No space left"):
        module.write_digits(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_losing_a_race_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(folder: Path) -> None:
        folder.mkdir()
        winner = tmp_path / "imagenet"
        winner.mkdir()
        (winner / "content").write_text("first")
        (winner / ".digits").write_text(module.VERSION)

    monkeypatch.setattr(module, "_WRITERS", {"imagenet": slow})
    module.write_digits(tmp_path)
    assert (tmp_path / "imagenet/content").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["imagenet"]


def test_a_killed_writer_is_redone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "benchmarks.datasets.digits", str(tmp_path)]
    writer = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".imagenet.*.tmp/train/*/*.JPEG")):
        assert time.monotonic() < deadline
        assert writer.poll() is None
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert not (tmp_path / "imagenet").exists()
    monkeypatch.setattr(module, "_WRITERS", {"imagenet": module._write_imagenet})
    module.write_digits(tmp_path)
    assert len(DATASETS["imagenet"].load(tmp_path / "imagenet").splits["train"].paths) == 1438


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "imagenet").mkdir()
    command = [sys.executable, "-m", "benchmarks.datasets.digits", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1

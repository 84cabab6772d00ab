"""Places205 in MIT's layout (the embedded data) and in MMSelfSup's and OpenSelfSup's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.datasets import places205
from slurm.errors import UserError

Touch = Callable[..., None]
Write = Callable[[str, str], Path]

MIT = "data/vision/torralba/deeplearning/images256"


@pytest.mark.parametrize("suffix", ["", "_labeled"])
def test_lists_in_meta(tmp_path: Path, touch_images: Touch, write: Write, suffix: str) -> None:
    touch_images("train/a/abbey/1.jpg", "train/b/bar/2.jpg", "val/b/bar/3.jpg")
    write(f"meta/train{suffix}.txt", "a/abbey/1.jpg 0\nb/bar/2.jpg 1\n")
    write(f"meta/val{suffix}.txt", "b/bar/3.jpg 1\n")
    dataset = places205.load(tmp_path)
    assert dataset.splits["train"].root == tmp_path / "train"
    assert dataset.splits["train"].classes == ("a/abbey", "b/bar")
    assert dataset.splits["val"].root == tmp_path / "val"
    assert dataset.splits["val"].labels.tolist() == [1]


def test_lists_of_meta_over_the_images_of_the_official_archive(
    tmp_path: Path, touch_images: Touch, write: Write
) -> None:
    touch_images(f"{MIT}/a/abbey/1.jpg", f"{MIT}/a/apartment_building/outdoor/2.jpg")
    touch_images(f"{MIT}/b/basement/outdoor/3.jpg", f"{MIT}/a/abbey/4.jpg")
    write(
        "meta/train.txt",
        "a/abbey/1.jpg 0\na/apartment_building/outdoor/2.jpg 1\nb/basement/outdoor/3.jpg 2\n",
    )
    write("trainvalsplit_places205/val_places205.csv", "a/abbey/4.jpg 0\n")
    dataset = places205.load(tmp_path)
    assert dataset.splits["train"].root == tmp_path / MIT
    assert len(set(dataset.splits["train"].classes)) == 3
    assert dataset.splits["val"].paths == ("a/abbey/4.jpg",)


def test_no_list_and_no_images(tmp_path: Path, write: Write) -> None:
    with pytest.raises(
        UserError, match=r"no list of train images: none of meta/train_labeled\.txt"
    ):
        places205.load(tmp_path)
    write("trainvalsplit_places205/train_places205.csv", "a/abbey/1.jpg 0\n")
    with pytest.raises(UserError, match=r"train_places205\.csv names a/abbey/1\.jpg, which is in"):
        places205.load(tmp_path)

"""VOC2007: labels against the annotations, and what damaged lists say."""

import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.datasets import voc07
from benchmarks.datasets.voc07 import TRAINVAL_IMAGES, TRAINVAL_POSITIVES, other_labels
from slurm.errors import UserError

Write = Callable[[str, str], Path]


@pytest.fixture
def voc(tmp_path: Path, touch_images: Callable[..., None], write: Write) -> Path:
    touch_images(*(f"JPEGImages/{image}.jpg" for image in ("000003", "000005", "000007", "000009")))
    main = "ImageSets/Main"
    write(f"{main}/trainval.txt", "000007\n000005\n000009\n")
    write(f"{main}/cat_trainval.txt", "000005 -1\n000007  1\n000009  0\n")
    write(f"{main}/bird_trainval.txt", "000009  1\n000005  0\n000007 -1\n")
    write(f"{main}/test.txt", "000003\n")
    write(f"{main}/cat_test.txt", "000003  1\n")
    write(f"{main}/bird_test.txt", "000003 -1\n")
    # The real folder holds these too; they are not classes of trainval or test.
    write(f"{main}/train.txt", "000005\n")
    write(f"{main}/cat_train.txt", "000005 -1\n")
    return tmp_path


def test_labels_rows_and_columns(voc: Path) -> None:
    dataset = voc07.load(voc)
    trainval, test = dataset.splits["trainval"], dataset.splits["test"]
    assert trainval.classes == test.classes == ("bird", "cat")
    assert trainval.root == voc / "JPEGImages"
    assert trainval.paths == ("000005.jpg", "000007.jpg", "000009.jpg")
    assert trainval.labels.tolist() == [[-1, 0], [0, 1], [1, -1]]
    assert test.labels.tolist() == [[0, 1]]
    assert trainval.labels.dtype == np.int8


def test_labels_of_the_digits_agree_with_their_annotations(digits: Path) -> None:
    folder = digits / "VOCdevkit/VOC2007"
    for split in voc07.load(folder).splits.values():
        for path, labels in list(zip(split.paths, split.labels))[::37]:
            tree = ElementTree.parse(folder / "Annotations" / path.replace(".jpg", ".xml"))
            expected = np.zeros(len(split.classes), dtype=int)
            for thing in tree.iter("object"):
                column = split.classes.index(str(thing.findtext("name")))
                if thing.findtext("difficult") == "0":
                    expected[column] = 1
                elif expected[column] == 0:
                    expected[column] = -1
            assert labels.tolist() == expected.tolist(), path


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("cat_trainval.txt", "000005 -1\n000007 2\n", r"cat_trainval\.txt line 2 is '000007 2'"),
        ("cat_trainval.txt", "000005 -1\n\n000007\n", r"cat_trainval\.txt line 3 is '000007'"),
        ("cat_trainval.txt", "000005 x\n", r"cat_trainval\.txt line 1 is '000005 x'"),
        ("cat_trainval.txt", "000001 1\n", r"line 1: the image 000001 is not in .*/trainval\.txt"),
        ("cat_trainval.txt", "000005 1\n000007 1\n", r"has no label for the image 000009 of"),
        ("cat_trainval.txt", "000005 1\n000005 -1\n", r"line 2 gives the image 000005 a second"),
        ("cat_trainval.txt", "", r"cat_trainval\.txt is empty; unpack"),
        ("trainval.txt", "\n", r"/trainval\.txt is empty; unpack"),
        ("trainval.txt", "../../x\n", r"'\.\./\.\./x' is not an image id"),
        ("trainval.txt", "000001\n", r"000001\.jpg of .* does not exist; unpack"),
    ],
)
def test_damaged_lists(voc: Path, file: str, text: str, message: str) -> None:
    (voc / "ImageSets/Main" / file).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        voc07.load(voc)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "lines"), [("cat_test.txt", ("000003 1", "000003  1")), ("test.txt", ("000003",) * 2)]
)
def test_a_repeated_line_is_refused_with_its_number(
    voc: Path, file: str, lines: tuple[str, str]
) -> None:
    (voc / "ImageSets/Main" / file).write_text("\n\n".join(lines))
    with pytest.raises(UserError, match=rf"{file} line 3 repeats the image 000003 of line 1"):
        voc07.load(voc)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("ImageSets/Main/cat_test.txt", r"cat_test\.txt does not exist; unpack VOCtrainval"),
        ("ImageSets/Main/cat_trainval.txt", r"cat_trainval\.txt does not exist"),
        ("ImageSets/Main/test.txt", r"Main/test\.txt does not exist"),
    ],
)
def test_missing_lists(voc: Path, missing: str, message: str) -> None:
    (voc / missing).unlink()
    with pytest.raises(UserError, match=message):
        voc07.load(voc)


def test_missing_folders_and_an_empty_class_list(voc: Path) -> None:
    for file in (voc / "ImageSets/Main").glob("*_*.txt"):
        file.unlink()
    with pytest.raises(UserError, match=r"has no list <class>_trainval\.txt of any class; unpack"):
        voc07.load(voc)
    (voc / "JPEGImages").rename(voc / "Pictures")
    with pytest.raises(UserError, match="JPEGImages does not exist; unpack"):
        voc07.load(voc)


def test_an_image_of_both_splits_is_refused(voc: Path) -> None:
    for file, label in (("test.txt", ""), ("cat_test.txt", " 1"), ("bird_test.txt", " -1")):
        path = voc / "ImageSets/Main" / file
        path.write_text(path.read_text() + f"000007{label}\n")
    with pytest.raises(UserError, match=r"test\.txt names the image 000007, which .*trainval\.txt"):
        voc07.load(voc)


@pytest.mark.parametrize("splits", [("trainval",), ("test",), ("trainval", "test")])
def test_class_names_that_are_not_utf8_are_refused(voc: Path, splits: tuple[str, ...]) -> None:
    main = voc / "ImageSets/Main"
    for split in splits:
        odd = os.fsdecode(bytes(main) + f"/caf_{split}.txt".encode().replace(b"caf", b"caf\xe9"))
        (main / f"cat_{split}.txt").rename(odd)
    with pytest.raises(
        UserError, match=r"the class b'caf\\xe9' of the lists .* not UTF-8"
    ) as caught:
        voc07.load(voc)
    assert str(caught.value).isprintable()


def test_two_classes_of_the_same_labels_are_noted(voc: Path) -> None:
    assert voc07.load(voc).notes == ()
    for split in ("trainval", "test"):
        shutil.copy(*(voc / f"ImageSets/Main/{name}_{split}.txt" for name in ("bird", "cat")))
    assert voc07.load(voc).notes == ("classes bird and cat have the same labels in all images",)


def test_labels_that_cannot_be_those_of_voc07_are_noted() -> None:
    """As many images and classes, but other numbers of positives; in any order of the classes."""
    real = np.array(TRAINVAL_POSITIVES)
    assert len(real) == 20
    assert other_labels(real[::-1], TRAINVAL_IMAGES) == ()
    assert other_labels(real[:3], TRAINVAL_IMAGES) == other_labels(real + 1, 60) == ()
    real[[0, 4]] += 1
    (note,) = other_labels(real, TRAINVAL_IMAGES)
    assert "2 of its 20 classes have other numbers of positives" in note

"""iNaturalist 2018 by MMSelfSup's lists (the embedded data) and by the official annotations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.datasets import inaturalist18
from slurm.errors import UserError

Touch = Callable[..., None]
Write = Callable[[str, str], Path]


def _annotations(*rows: tuple[int, str, int]) -> dict[str, Any]:
    """What the official file holds, annotations in another order than images."""
    return {
        "info": {"year": 2018},
        "images": [
            {"id": number, "file_name": path, "width": 800, "height": 600, "license": 3}
            for number, path, _ in rows
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": label}
            for number, _, label in reversed(rows)
        ],
        "categories": [{"id": 0, "name": "Aquila", "supercategory": "Aves"}],
    }


TRAIN = _annotations(
    (20, "train_val2018/Aves/2761/b.jpg", 0),
    (10, "train_val2018/Plantae/7477/a.jpg", 1),
    (30, "train_val2018/Aves/2761/c.jpg", 0),
)
VAL = _annotations((40, "train_val2018/Plantae/7477/d.jpg", 1))


@pytest.fixture
def official(tmp_path: Path, touch_images: Touch, write: Write) -> Path:
    touch_images(*(image["file_name"] for image in TRAIN["images"] + VAL["images"]))
    write("train2018.json", json.dumps(TRAIN))
    write("val2018.json", json.dumps(VAL))
    return tmp_path


def test_official_annotations(official: Path) -> None:
    dataset = inaturalist18.load(official)
    train, val = dataset.splits["train"], dataset.splits["val"]
    assert train.root == official
    assert train.paths == tuple(image["file_name"] for image in TRAIN["images"])
    assert train.labels.tolist() == [0, 1, 0]
    assert train.classes == ("train_val2018/Aves/2761", "train_val2018/Plantae/7477")
    assert val.labels.tolist() == [1]


@pytest.mark.parametrize("prefix", ["", "train_val2018/"])
def test_lists_with_and_without_the_prefix(official: Path, write: Write, prefix: str) -> None:
    """MMSelfSup's converter keeps the prefix, its configuration expects paths without it."""
    reference = inaturalist18.load(official)
    for name, content in (("train", TRAIN), ("val", VAL)):
        label = {entry["image_id"]: entry["category_id"] for entry in content["annotations"]}
        lines = [
            f"{image['file_name'].replace('train_val2018/', prefix)} {label[image['id']]}\n"
            for image in content["images"]
        ]
        write(f"meta/{name}.txt", "".join(lines))
        (official / f"{name}2018.json").unlink()
    dataset = inaturalist18.load(official)
    for name, split in dataset.splits.items():
        assert split.labels.tolist() == reference.splits[name].labels.tolist()
        assert all((split.root / path).is_file() for path in split.paths)


def _without(key: str, number: int) -> dict[str, Any]:
    return {**TRAIN, key: TRAIN[key][:number] + TRAIN[key][number + 1 :]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"train2018\.json is not an annotation file of iNaturalist 2018 \(.*truncated"),
        ('{"images": []}', r"missing required field `annotations`"),
        (json.dumps(_annotations((1, "a.jpg", -4))), r"`int` >= 0 - at `\$\.annotations\[0\]"),
        (json.dumps(_annotations()), r"train2018\.json lists no images"),
        (json.dumps(_without("annotations", 1)), r"image with id 10 has no annotation"),
        (json.dumps(_without("images", 0)), r"image with id 20 has an annotation but no entry"),
        (
            json.dumps({**TRAIN, "annotations": TRAIN["annotations"] * 2}),
            r"gives an image more than one class",
        ),
        (json.dumps(_annotations((1, "../a.jpg", 0))), r"a file_name leaves the image folder"),
        (
            json.dumps(_annotations((20, "train_val2018/Aves/2761/b.jpg", 3))),
            r"train2018\.json: no image has label 0, but labels go up to 3",
        ),
    ],
)
def test_damaged_annotations(official: Path, content: str, message: str) -> None:
    (official / "train2018.json").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        inaturalist18.load(official)
    assert "\n" not in str(caught.value)


def test_a_validation_category_that_training_lacks(official: Path) -> None:
    odd = _annotations((40, "train_val2018/Plantae/7477/d.jpg", 5))
    (official / "val2018.json").write_text(json.dumps(odd))
    with pytest.raises(UserError, match=r"val2018\.json: the label 5 of .*d\.jpg is out of range"):
        inaturalist18.load(official)


def test_neither_list_nor_annotations(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither meta/train\.txt nor train2018\.json"):
        inaturalist18.load(tmp_path)

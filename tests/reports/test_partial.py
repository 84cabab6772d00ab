"""Figures that are not of the real data: marked in every form of the tables."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR, IMAGENET_LINEAR
from benchmarks.datasets.voc07 import TRAINVAL_IMAGES, other_labels
from benchmarks.results import Split
from reports.__main__ import main
from reports.collect import collect
from reports.measured import measured_tables
from reports.pictures.curves import pictures
from tests.reports.conftest import IMAGES, VOC, Zoo, features

FEW_SCENES = {"trainval": Split(40, 3, "a" * 64), "test": Split(20, 3, "b" * 64)}
FEW_IMAGES = {"train": Split(1000, 10, "e" * 64), "val": Split(500, 10, "f" * 64)}
HEADS = features([1.0, 2.0, 3.0, 4.0, 5.0])
MARK = "partial data, 1,500 of 1,331,167 images"


def printed(zoo: Zoo, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    main(["--zoo", str(zoo.path), *flags])
    return capsys.readouterr().out


def test_a_table_of_few_images_says_so_in_its_heading_its_rows_and_below(
    zoo: Zoo, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.svm("tiny", {"feature4": 70.0, "feature5": 74.0}, data=FEW_SCENES)
    text = printed(zoo, capsys)
    assert "#### VOC SVM / Low-shot SVM (partial data)\n" in text
    assert "\n| partial data, 60 of 9,963 images: tiny | feature5   | 74.00 |" in text
    assert (
        "- **Not the real data**: measured on 40 of 5,011 trainval images, 3 of 20 classes; 20 of "
        "4,952 test images, 3 of 20 classes of VOC2007. These figures stand beside no published "
        "one."
    ) in text


def test_whole_data_keep_their_table_and_come_first(
    zoo: Zoo, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.probe("whole", HEADS)
    alone = printed(zoo, capsys)
    assert "partial" not in alone
    zoo.probe("few", HEADS, data=FEW_IMAGES)
    made = measured_tables(collect(zoo.path))
    assert [(table.table.partial, table.table.rows[0].name) for table in made] == [
        ("", "whole"),
        (MARK, "few"),
    ]
    row = next(line for line in alone.splitlines() if line.startswith("| whole"))
    assert row in printed(zoo, capsys)


@pytest.mark.parametrize(
    ("data", "mark"),
    [
        (IMAGES, ""),
        ({"train": IMAGES["train"], "val": Split(50001, 1000, "d" * 64)}, "other data, 1,331,168 "),
        ({"train": IMAGES["train"], "val": Split(50000, 999, "d" * 64)}, "other data, splits or "),
        ({"train": Split(50000, 1000, ""), "val": Split(1281167, 1000, "")}, "other data, splits"),
        ({"train": IMAGES["train"]}, "partial data, 1,281,167 of 1,331,167 images"),
        (VOC, "partial data, 9,963 of 1,331,167 images"),
    ],
)
def test_every_size_must_be_the_official_one(zoo: Zoo, data: Any, mark: str) -> None:
    zoo.probe("net", HEADS, data=data)
    (made,) = measured_tables(collect(zoo.path))
    assert made.table.partial.startswith(mark)
    assert bool(made.table.partial) == bool(mark)


def test_what_claims_no_real_data_is_not_marked(zoo: Zoo) -> None:
    """The embedded digits never do; what a user changed does as its protocol did."""
    zoo.probe("digits", HEADS, DIGITS_IMAGENET_LINEAR, data=FEW_IMAGES)
    zoo.probe("a", HEADS, replace(DIGITS_IMAGENET_LINEAR, variant="custom"), data=FEW_IMAGES)
    zoo.probe("b", HEADS, replace(IMAGENET_LINEAR, variant="custom"), data=FEW_IMAGES)
    zoo.probe("c", HEADS, replace(IMAGENET_LINEAR, variant="fair"), data=FEW_IMAGES)
    made = measured_tables(collect(zoo.path))
    marks = {table.table.rows[0].name: table.table.partial for table in made}
    assert marks == {"digits": "", "a": "", "b": MARK, "c": MARK}


def test_every_form_of_the_table_bears_the_mark(
    zoo: Zoo, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    zoo.probe("few", HEADS, data=FEW_IMAGES)
    assert f'"{MARK}: few"' in printed(zoo, capsys, "--format", "csv")
    assert f"{MARK}: few &" in printed(zoo, capsys, "--format", "latex")
    (row,) = json.loads(printed(zoo, capsys, "--format", "json"))["tables"][0]["rows"]
    assert (row["name"], row["mark"]) == ("few", MARK)
    (model,) = yaml.safe_load(printed(zoo, capsys, "--format", "metafile"))["Models"]
    assert model["Results"][0]["Dataset"] == f"ImageNet-1k, {MARK} ({IMAGENET_LINEAR.name})"
    (model,) = yaml.safe_load(printed(zoo, capsys, "--format", "model-index"))["model-index"]
    assert model["results"][0]["dataset"]["name"] == f"ImageNet-1k, {MARK}"
    page = tmp_path / "page.html"
    printed(zoo, capsys, "--html", str(page))
    assert "ImageNet Linear Evaluation (variant mmselfsup, partial data)" in page.read_text()
    assert f">{MARK}: few</td>" in page.read_text()
    collection = collect(zoo.path)
    (picture,) = pictures(measured_tables(collection), collection)
    assert "(variant mmselfsup, partial data)" in picture.alt


def test_as_many_labels_that_are_others_stand_beside_no_published_figure(
    zoo: Zoo, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sizes are VOC2007's, and the record notes that the labels are not."""
    (note,) = other_labels(np.arange(20), TRAINVAL_IMAGES)
    zoo.svm("invented", features([70.0, 71.0, 72.0, 73.0, 74.0]), notes=(note,))
    text = printed(zoo, capsys)
    assert "| other data, labels that are not those of VOC2007: invented | feature5 " in text
    assert "measured on other labels than those of VOC2007. These figures stand beside no" in text
    compared = printed(zoo, capsys, "--compare")
    assert "Not compared: invented (other data, labels that are not those of VOC2007)." in compared


def test_one_layer_is_named_of_the_row_that_has_one(
    zoo: Zoo, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.svm("all", features([70.0, 71.0, 72.0, 73.0, 74.0]))
    zoo.svm("last", {"feature5": 74.0})
    text = printed(zoo, capsys)
    assert "layer with the best mAP on the test set; " in text
    assert "; last: feature5 alone, no other layer was measured" in text
    assert "all: feature5 alone" not in text

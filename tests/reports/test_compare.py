"""Measured rows beside the published ones."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.protocols import DIGITS_IMAGENET_LINEAR
from reports.collect import collect
from reports.compare import NOTHING, band, comparison
from reports.measured import measured_tables
from reports.published import load, select
from reports.tables import KINDS


def compare(zoo: Any, only: list[str] | None = None) -> str:
    published = load()
    collection = collect(zoo.path)
    chosen = select(published, only) if only else ()
    return comparison(measured_tables(collection), published, collection.cards, chosen)


def lines(text: str, start: str) -> list[list[str]]:
    rows = [line.split("|")[1:-1] for line in text.split("\n") if line.startswith("|")]
    return [[c.strip() for c in row[1:]] for row in rows if row[0].strip().startswith(start)]


def test_the_band_is_that_of_the_methods_trained_twice() -> None:
    # VOC07 SVM: Relative-Loc 0.74, Rotation 0.32, NPID 2.25, MoCo v2 0.22.
    assert band(load(), KINDS["voc-svm"])["SVM"] == pytest.approx((0.22, 2.25))
    # AvgPool: 0.82, 1.11, 1.37, 0.11.
    assert band(load(), KINDS["imagenet-linear"])["AvgPool"] == pytest.approx((0.11, 1.37))


def test_a_row_stands_beside_every_source_with_the_differences(zoo: Any) -> None:
    zoo.deepcluster()
    text = compare(zoo)
    voc = text.split("####")[1]
    assert lines(voc, "measured:")[0][:4] == ["feature5", "74.26", "29.37", "37.99"]
    assert [row[:4] for row in lines(voc, "difference")] == [
        ["same", "+0.00", "-0.36", "+0.33"],
        ["same", "+0.00", "+0.00", "+0.00"],
    ]
    assert lines(voc, "run-to-run band")[0][1] == "0.22-2.25"
    assert "Outside the band" not in voc


def test_differences_beyond_the_band_are_named(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.svm(name, {"feature4": 80.0})
    text = compare(zoo, [name])
    assert lines(text, "difference")[0][:2] == ["other", "+5.74"]
    assert f"Outside the band: {name} against MMSelfSup 0.11.0: {name}: SVM by +5.74 points" in text


def test_a_card_s_method_finds_the_published_rows(zoo: Any) -> None:
    zoo.svm("mine", {"feature5": 74.0})
    assert compare(zoo) == NOTHING
    zoo.card("mine", method="deepcluster")
    assert lines(compare(zoo), "difference")[0][:2] == ["same", "-0.26"]


def test_rows_of_another_variant_are_never_compared(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.probe(name, {"feature5": 90.0}, DIGITS_IMAGENET_LINEAR)
    assert compare(zoo) == (
        "Rows of the variant digits have no published counterpart: another protocol measured them."
    )


def test_the_data_lie_in_the_package() -> None:
    assert Path(load.__code__.co_filename).with_name("published.json").is_file()

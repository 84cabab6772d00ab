"""Measured rows beside the published ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from benchmarks.protocols import (
    ADDED,
    DIGITS_IMAGENET_LINEAR,
    IMAGENET_AVGPOOL,
    IMAGENET_AVGPOOL_COSINE,
    IMAGENET_AVGPOOL_LARS,
    IMAGENET_LINEAR,
)
from benchmarks.results import Split
from reports.collect import collect
from reports.comparison.beside import NOTHING, band, comparison
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


BYOL = "resnet50_8xb32-accum16-coslr-200e"
STEP, LARS, COSINE = (
    protocol.name for protocol in (IMAGENET_AVGPOOL, IMAGENET_AVGPOOL_LARS, IMAGENET_AVGPOOL_COSINE)
)


def test_an_avgpool_figure_is_compared_with_those_of_its_protocol_only(zoo: Any) -> None:
    """71.72 is of SimSiam's setting; version 0.5.0's 67.68 of the same method of MoCo's."""
    zoo.probe(BYOL, {"feature5": 71.0}, IMAGENET_LINEAR)
    zoo.probe(BYOL, {"avgpool": 68.0}, IMAGENET_AVGPOOL)
    text = compare(zoo)
    rows = {row[0]: row for row in all_lines(text)}
    differences = [row[5:] for row in all_lines(text) if row[0] == "difference"]
    assert differences == [
        ["-1.35", "-"],
        ["-0.61", "-"],
        ["-0.21", "-"],
        ["-0.85", "-"],
        ["-", "+0.32"],
    ]
    beside = [row[6] for row in all_lines(text) if row[0].startswith("published")]
    assert beside == ["-", "-", "-", "-", "67.68"]
    assert (
        f"Not compared: AvgPool of {BYOL} was measured by `{STEP}`, the 71.72 of MMSelfSup "
        f"0.11.0: {BYOL} by `{LARS}`."
    ) in text
    assert "run-to-run band" in text
    assert rows["run-to-run band"][6] == "0.11-1.37"


def test_the_figure_of_simsiam_s_setting_is_compared_when_it_was_measured_so(zoo: Any) -> None:
    zoo.probe(BYOL, {"avgpool": 71.0}, IMAGENET_AVGPOOL_LARS)
    text = compare(zoo)
    differences = [row[6] for row in all_lines(text) if row[0] == "difference"]
    assert differences == ["-0.72", "-0.88", "-1.93"]
    assert f"the 67.68 of MMSelfSup 0.5.0: byol_{BYOL}_in1k by `{STEP}`." in text
    # The two trainings of one recipe were measured by MoCo's setting.
    (band_row,) = [row for row in all_lines(text) if row[0] == "run-to-run band"]
    assert band_row[6] == "-"


def test_what_is_nowhere_alike_is_said_without_a_table(zoo: Any) -> None:
    name = "resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96"
    zoo.probe(name, {"avgpool": 70.0}, IMAGENET_AVGPOOL)
    text = compare(zoo)
    assert "|" not in text
    assert f"the 70.47 of MMSelfSup 0.11.0: {name} by `{COSINE}`." in text
    assert f"the 70.55 of MMSelfSup 0.5.0: swav_{name} by `{COSINE}`." in text


def test_a_figure_whose_page_names_no_protocol_is_never_compared(zoo: Any) -> None:
    name = "interclr-moco_resnet50_8xb32-coslr-200e_in1k"
    for protocol in (IMAGENET_AVGPOOL, IMAGENET_AVGPOOL_LARS, IMAGENET_AVGPOOL_COSINE):
        zoo.probe(name, {"avgpool": 68.0}, protocol)
    text = compare(zoo)
    assert "difference" not in text
    assert text.count(f"the 68.04 of MMSelfSup 0.11.0: {name} by a protocol that is not named") == 3


def test_other_numbers_under_a_protocol_s_name_are_not_compared(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.probe(name, {"avgpool": 46.0}, replace(IMAGENET_AVGPOOL, epochs=5, learning_rate=1.0))
    text = compare(zoo)
    assert "|" not in text
    assert (
        f"Not compared: AvgPool of {name} was measured with other numbers than the protocol of "
        "that name has: epochs 5 instead of 100, learning_rate 1.0 instead of 30.0."
    ) in text
    # The other part of the table is as published.
    zoo.probe(name, {"feature5": 52.0}, IMAGENET_LINEAR)
    assert [row[5:] for row in all_lines(compare(zoo)) if row[0] == "difference"] == [
        ["+0.32", "-"],
        ["+0.32", "-"],
    ]


def test_other_data_than_the_published_are_named(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.probe(name, {"avgpool": 46.0}, IMAGENET_AVGPOOL)
    assert "on other data" not in compare(zoo)
    few = {"train": Split(1000, 10, "e" * 64), "val": Split(50000, 1000, "f" * 64)}
    zoo.probe(name, {"avgpool": 90.0}, IMAGENET_AVGPOOL, data=few)
    assert (
        "- **AvgPool on other data**: measured on 1,000 train images instead of 1,281,167."
    ) in compare(zoo)


def test_records_from_before_a_field_came_are_compared(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    settings = {k: v for k, v in to_builtins(IMAGENET_AVGPOOL).items() if k not in ADDED}
    zoo.probe(name, {"avgpool": 47.0}, IMAGENET_AVGPOOL, settings=settings)
    assert [row[6] for row in all_lines(compare(zoo)) if row[0] == "difference"] == [
        "+0.08",
        "+0.08",
        "-3.40",
    ]


def all_lines(text: str) -> list[list[str]]:
    """The cells of all rows of all tables, the first one without its link."""
    rows = [line.split("|")[1:-1] for line in text.split("\n") if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_data_lie_in_the_package() -> None:
    assert Path(load.__code__.co_filename).with_name("published.json").is_file()

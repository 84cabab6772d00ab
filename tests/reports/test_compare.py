"""Measured rows beside the published ones."""

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs, to_builtins

from benchmarks.catalog.imagenet_avgpool import (
    IMAGENET_AVGPOOL,
    IMAGENET_AVGPOOL_COSINE,
    IMAGENET_AVGPOOL_LARS,
)
from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR, IMAGENET_LINEAR
from benchmarks.catalog.inaturalist18_linear import INATURALIST18_LINEAR
from benchmarks.protocols import ADDED
from benchmarks.results import Split
from reports.__main__ import main
from reports.collect import collect
from reports.comparison.band import band
from reports.comparison.beside import subject
from reports.comparison.sections import compare as compare_rows
from reports.comparison.sections import to_markdown
from reports.document import NO_RESULTS
from reports.measured import measured_tables
from reports.published import load, select
from reports.tables import KINDS


def compare(zoo: Any, only: list[str] | None = None, **flags: bool) -> str:
    published = load()
    collection = collect(zoo.path)
    chosen = select(published, only) if only else ()
    measured = measured_tables(collection, **flags)
    return to_markdown(compare_rows(measured, published, collection.cards, chosen))


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
    against = f"MMSelfSup 0.11.0: DeepCluster {name}"
    assert f"Outside the band: {name} against {against}: SVM by +5.74 points" in text


def test_a_published_row_is_shown_whole_beside_a_row_with_fewer_figures(zoo: Any) -> None:
    """A dash in it means that nobody published the figure, not that nobody measured it here."""
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.svm(name, {"feature5": 74.0})
    zoo.low_shot("another", {"feature5": [10.0] * 8})
    text = compare(zoo)
    assert lines(text, "published")[1][:4] == ["feature5", "74.26", "29.37", "37.99"]
    assert lines(text, "difference")[1][:4] == ["same", "-0.26", "-", "-"]


def test_the_best_of_fewer_layers_than_published_is_said(zoo: Any) -> None:
    zoo.svm("few", {"feature4": 60.0, "feature5": 74.0})
    zoo.svm("full", {f"feature{stage}": 10.0 * stage for stage in range(1, 6)})
    text = compare(zoo)
    assert (
        "- Not alike: the best layer of few is of feature4, feature5 alone, those of published "
        "rows are of all 5.\n"
    ) in text
    assert text.count("Not alike") == 1


def test_a_card_s_method_finds_the_published_rows(zoo: Any) -> None:
    assert compare(zoo) == NO_RESULTS
    zoo.svm("mine", {"feature5": 74.0})
    assert lines(compare(zoo), "difference") == []
    zoo.card("mine", method="deepcluster")
    assert lines(compare(zoo), "difference")[0][:2] == ["same", "-0.26"]


def test_a_row_of_no_published_method_stands_beside_all_published_rows(zoo: Any) -> None:
    """Each published figure of its protocol once, as published.json has it, and no other."""
    zoo.svm("mine", {"feature5": 74.0})
    zoo.probe("mine", {"avgpool": 50.0}, IMAGENET_AVGPOOL)
    voc, imagenet = compare(zoo).split("####")[1:]
    assert lines(voc, "measured: mine") == [["feature5", "74.00", *["-"] * 8]]
    published = load().rows
    assert [row[1] for row in lines(voc, "published")] == [
        f"{row.figures['voc-svm']['SVM']:.2f}" for row in published if "voc-svm" in row.figures
    ]
    assert all(row[2:] == ["-"] * 8 for row in lines(voc, "published"))
    assert [row[5] for row in lines(imagenet, "published")] == [
        f"{row.figures['imagenet-linear']['AvgPool']:.2f}"
        for row in published
        if row.protocols.get("imagenet_avgpool") == STEP
    ]
    assert "No differences for mine: no published row of the same protocol is of its config" in voc
    assert "- All figures of a column are of one protocol.\n" in voc
    assert "- **SVM**: protocol `voc07_svm`, variant `mmselfsup`, version 1; mAP (%)" in voc
    assert "[MMSelfSup 0.11.0, configs/selfsup/\\*/README.md](https://github.com/" in voc
    assert "AvgPool figures are of the best one" in imagenet


def test_rows_that_are_chosen_stand_there_alone_with_differences(zoo: Any) -> None:
    zoo.svm("mine", {"feature5": 74.0})
    text = compare(zoo, ["MoCo v1"])
    assert [row[:2] for row in lines(text, "published")] == [["feature5", "79.18"]]
    assert [row[:2] for row in lines(text, "difference")] == [["same", "-5.18"]]
    other = compare(zoo, ["SwAV", "DenseCL"])
    assert [row[1] for row in lines(other, "published")] == ["87.00", "82.50"]


def test_a_row_that_nothing_chosen_can_be_held_against_is_shown(zoo: Any) -> None:
    zoo.probe("mine", {"avgpool": 50.0}, IMAGENET_AVGPOOL)
    text = compare(zoo, ["SwAV"])
    assert lines(text, "measured: mine")[0][5] == "50.00"
    assert lines(text, "published") == []
    assert "Not compared: mine; none of the chosen published rows has figures of the same" in text
    assert f"the 70.47 of MMSelfSup 0.11.0: SwAV {SWAV} by `{COSINE}`." in text


def test_rows_of_another_variant_are_shown_and_never_compared(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.probe(name, {"feature5": 90.0}, DIGITS_IMAGENET_LINEAR)
    zoo.probe("mine", {"feature5": 91.0}, DIGITS_IMAGENET_LINEAR)
    text = compare(zoo)
    assert "measured and published (variant digits)" in text
    assert [row[4] for row in lines(text, "")[2:]] == ["91.00", "90.00"]
    assert (
        f"- Not compared: Feature1 - Feature5 of mine, {name} was measured by "
        "`digits_mhead_linear-2e_in1k` of the variant `digits`; the published figures are of "
        "`mmselfsup`."
    ) in text


def test_a_custom_row_says_what_was_changed(zoo: Any) -> None:
    zoo.probe("mine", {"avgpool": 50.0}, replace(IMAGENET_AVGPOOL, variant="custom", epochs=1))
    text = compare(zoo)
    assert lines(text, "measured: mine")[0][5] == "50.00"
    assert lines(text, "published") == []
    assert (
        "Not compared: AvgPool of mine was measured with numbers of your own (epochs 1 instead "
        "of 100)."
    ) in text


def test_a_comparison_stands_alone_in_a_paper(zoo: Any) -> None:
    """What must be known of the measured figures stands below it too, and ± is explained."""
    for seed in (0, 1):
        zoo.probe("mine", {"avgpool": 50.0 + seed}, IMAGENET_AVGPOOL, seed=seed, notes=("torn",))
    collection = collect(zoo.path)
    measured = measured_tables(collection, seeds=True)
    text = to_markdown(compare_rows(measured, load(), {}, (), True))
    assert lines(text, "measured: mine")[0][5] == "50.50 ± 0.71"
    assert "mean ± sample standard deviation over seeds 0, 1." in text
    assert "- Note on mine: torn\n" in f"{text}\n"


def test_columns_and_tables_that_nobody_published_are_named(zoo: Any) -> None:
    path = zoo.low_shot("mine", {"feature5": [10.0] * 8})
    record = json.loads(path.read_bytes())
    shots = record["layers"]["feature5"]["shots"]
    shots["3"] = shots["2"]
    path.write_text(json.dumps(record))
    text = compare(zoo)
    assert "k=3" in all_lines(text)[0]
    assert "Not compared: k=3 of mine, which no published row of the same protocol has." in text
    data = {"train": Split(437513, 8142, "e" * 64), "val": Split(24426, 8142, "f" * 64)}
    zoo.probe("mine", {"feature5": 50.0}, INATURALIST18_LINEAR, data=data)
    assert "Not compared: no figures of iNaturalist2018 Linear Evaluation are published." in (
        compare(zoo)
    )


def test_a_later_version_of_a_protocol_is_not_compared(zoo: Any) -> None:
    zoo.svm("mine", {"feature5": 74.0}, protocol_version=2)
    text = compare(zoo)
    assert lines(text, "published") == []
    assert "other numbers than the protocol of that name has: version 2 instead of 1." in text


def test_the_best_epoch_is_held_against_the_published_avgpool(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.probe(name, {"avgpool": 46.0}, IMAGENET_AVGPOOL)  # and 47 in its best epoch
    text = compare(zoo, [name], best=True)
    assert all_lines(text)[0][-2:] == ["AvgPool", "AvgPool (best)"]
    assert lines(text, "measured:")[0][-2:] == ["46.00", "47.00"]
    assert lines(text, "published")[0][-2:] == ["-", "46.92"]
    assert lines(text, "difference")[0][-2:] == ["-", "+0.08"]
    assert lines(text, "run-to-run band")[0][-2:] == ["-", "0.11-1.37"]
    assert "**AvgPool (best)**: top-1 (%) of the best of the evaluated epochs" in text
    assert lines(compare(zoo, [name]), "difference")[0][-1] == "-0.92"


BYOL = "resnet50_8xb32-accum16-coslr-200e"
SWAV = "resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96"
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
    assert beside[:5] == ["-", "-", "-", "-", "67.68"]
    assert "71.72" not in "".join(beside)
    assert (
        f"Not compared: AvgPool of {BYOL} was measured by `{STEP}`, the 71.72 of MMSelfSup "
        f"0.11.0: BYOL {BYOL} by `{LARS}`."
    ) in text
    assert "run-to-run band" in text
    assert rows["run-to-run band"][6] == "0.11-1.37"


def test_the_figure_of_simsiam_s_setting_is_compared_when_it_was_measured_so(zoo: Any) -> None:
    zoo.probe(BYOL, {"avgpool": 71.0}, IMAGENET_AVGPOOL_LARS)
    text = compare(zoo)
    differences = [row[6] for row in all_lines(text) if row[0] == "difference"]
    assert differences == ["-0.72", "-0.88", "-1.93"]
    assert f"the 67.68 of MMSelfSup 0.5.0: BYOL byol_{BYOL}_in1k by `{STEP}`." in text
    # The two trainings of one recipe were measured by MoCo's setting.
    (band_row,) = [row for row in all_lines(text) if row[0] == "run-to-run band"]
    assert band_row[6] == "-"


def test_what_is_nowhere_alike_is_said_and_has_no_differences(zoo: Any) -> None:
    zoo.probe(SWAV, {"avgpool": 70.0}, IMAGENET_AVGPOOL)
    text = compare(zoo)
    assert lines(text, "difference") == []
    assert "SwAV" not in "".join(row[0] for row in all_lines(text))
    assert f"the 70.47 of MMSelfSup 0.11.0: SwAV {SWAV} by `{COSINE}`." in text
    assert f"the 70.55 of MMSelfSup 0.5.0: SwAV swav_{SWAV} by `{COSINE}`." in text
    assert f"No differences for {SWAV}: no published row of the same protocol" in text


def test_a_figure_whose_page_names_no_protocol_is_never_compared(zoo: Any) -> None:
    name = "interclr-moco_resnet50_8xb32-coslr-200e_in1k"
    for protocol in (IMAGENET_AVGPOOL, IMAGENET_AVGPOOL_LARS, IMAGENET_AVGPOOL_COSINE):
        zoo.probe(name, {"avgpool": 68.0}, protocol)
    text = compare(zoo)
    assert lines(text, "difference") == []
    subject = f"MMSelfSup 0.11.0: InterCLR {name}"
    assert text.count(f"the 68.04 of {subject} by a protocol that is not named") == 3


def test_other_numbers_under_a_protocol_s_name_are_not_compared(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.probe(name, {"avgpool": 46.0}, replace(IMAGENET_AVGPOOL, epochs=5, learning_rate=1.0))
    text = compare(zoo)
    assert [row[5] for row in lines(text, "")[2:]] == ["46.00"]
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


def test_figures_of_other_data_are_left_out_by_name(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.probe(name, {"avgpool": 46.0}, IMAGENET_AVGPOOL)
    assert "partial data" not in compare(zoo)
    few = {"train": Split(1000, 10, "e" * 64), "val": Split(50000, 1000, "f" * 64)}
    zoo.probe(name, {"avgpool": 90.0}, IMAGENET_AVGPOOL, data=few)
    text = compare(zoo)
    assert "90.00" not in text
    assert lines(text, "measured:") == lines(text, "difference") == lines(text, "published") == []
    assert f"- Not compared: {name} (partial data, 51,000 of 1,331,167 images)." in text
    assert (
        "- **Not the real data**: measured on 1,000 of 1,281,167 train images, 10 of 1,000 classes "
        "of ImageNet-1k."
    ) in text


def test_records_from_before_a_field_came_are_compared(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    settings = {k: v for k, v in to_builtins(IMAGENET_AVGPOOL).items() if k not in ADDED}
    zoo.probe(name, {"avgpool": 47.0}, IMAGENET_AVGPOOL, settings=settings)
    assert [row[6] for row in all_lines(compare(zoo)) if row[0] == "difference"] == [
        "+0.08",
        "+0.08",
        "-3.40",
    ]


SHARED = "resnet50_8xb32-coslr-200e"  # a config's name of MoCo v2, SimCLR, SimSiam and DenseCL
METHODS = ["MoCo v2", "SimCLR"]


def test_notes_on_methods_of_one_config_s_name_have_distinct_subjects(zoo: Any) -> None:
    zoo.probe("mine", {"feature1": 90.0, "feature5": 1.0}, IMAGENET_LINEAR)
    text = compare(zoo, METHODS)
    notes = [line for line in text.split("\n") if line.startswith("- Outside the band")]
    subjects = [line.split(" against ")[1].partition(": Feature")[0] for line in notes]
    assert len(subjects) == len(set(subjects)) == len(lines(text, "difference")) > 2
    assert f"MMSelfSup 0.11.0: MoCo v2 {SHARED}" in subjects
    assert f"MMSelfSup 0.11.0: SimCLR {SHARED}" in subjects


def test_every_published_row_has_a_subject_of_its_own() -> None:
    published = load()
    assert len({subject(published, row) for row in published.rows}) == len(published.rows)


def test_remarks_on_published_rows_say_which_row_they_are_on(zoo: Any) -> None:
    """One remark of two rows of one name: each is on a row of its own."""
    zoo.probe("mine", {"feature5": 50.0}, IMAGENET_LINEAR)
    published = load()
    rows = select(published, METHODS)
    noted = [
        structs.replace(row, notes={"imagenet-linear": "remark"} if row.name == SHARED else {})
        for row in rows
    ]
    collection = collect(zoo.path)
    measured = measured_tables(collection)
    text = to_markdown(compare_rows(measured, published, collection.cards, noted))
    assert [line for line in text.split("\n") if line.startswith("- Note on")] == [
        f"- Note on MMSelfSup 0.11.0: {row.method} {row.name}: remark."
        for row in rows
        if row.name == SHARED
    ]


@pytest.mark.parametrize(
    "flags", [(), ("--compare",), ("--compare", ",".join(METHODS)), ("--published",)]
)
def test_no_two_lines_of_csv_are_of_one_cell(zoo: Any, capsys: Any, flags: tuple[str]) -> None:
    """So that a table can be made of them again, by rows and columns."""
    for name in ("mine", "yours"):
        zoo.probe(name, {"feature5": 50.0}, IMAGENET_LINEAR, notes=("torn",))
        zoo.svm(name, {"feature5": 74.0}, precision="amp")
        zoo.probe(name, {"feature5": 40.0}, IMAGENET_LINEAR, precision="amp", key="amp")
    main(["--zoo", str(zoo.path), *flags, "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    lines = [tuple(row[name] for name in ("table", "variant", "name", "column")) for row in rows]
    assert [line for line, count in Counter(lines).items() if count > 1] == []
    notes = [column for table, _, name, column in lines if table == "voc-svm" and not name]
    assert notes == [f"note {number}" for number in range(1, len(notes) + 1)]
    assert bool(notes) == (flags != ("--published",))


def test_rows_of_differences_are_distinct_in_csv(zoo: Any, capsys: Any) -> None:
    for name in ("mine", "yours"):
        zoo.probe(name, {"feature5": 50.0}, IMAGENET_LINEAR)
    main(["--zoo", str(zoo.path), "--compare", ",".join(METHODS), "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    cells = [(row["table"], row["name"], row["column"]) for row in rows if row["name"]]
    differences = {name for _, name, _ in cells if name.startswith("difference: ")}
    assert f"difference: yours less MMSelfSup 0.11.0: SimCLR {SHARED}" in differences
    published = {name for _, name, _ in cells if name.startswith("published, ")}
    assert len(differences) == 2 * len(published) > 4
    assert len(cells) == len(set(cells))


def test_the_card_says_of_which_of_several_methods_a_config_s_name_is(zoo: Any) -> None:
    zoo.probe(SHARED, {"feature5": 50.0}, IMAGENET_LINEAR)

    def methods() -> set[str]:
        rows = [row[0] for row in all_lines(compare(zoo))]
        beside = [rows[at - 1] for at, name in enumerate(rows) if name == "difference"]
        return {name.partition(": ")[2].partition(" [")[0] for name in beside}

    assert methods() > {"MoCo v2", "SimCLR"}
    zoo.card(SHARED, method="moco_v2")
    assert methods() == {"MoCo v2"}
    zoo.card(SHARED, method="of my own")
    assert methods() > {"MoCo v2", "SimCLR"}


def test_what_rounds_to_nothing_has_no_minus(zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.probe(name, {"feature1": 12.777, "feature2": 30.7951}, IMAGENET_LINEAR)
    first = next(row for row in all_lines(compare(zoo)) if row[0] == "difference")
    assert first[1:3] == ["+0.00", "-0.01"]


def all_lines(text: str) -> list[list[str]]:
    """The cells of all rows of all tables, the first one without its link."""
    rows = [line.split("|")[1:-1] for line in text.split("\n") if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_data_lie_in_the_package() -> None:
    assert Path(load.__code__.co_filename).with_name("published.json").is_file()

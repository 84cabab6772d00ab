import csv
import io
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks import results
from benchmarks.catalog.records import read_record
from benchmarks.outcomes.files import read_outcomes, write_outcomes
from reports.__main__ import main
from reports.collect import collect
from reports.confidence.bars import picture_bounds
from reports.confidence.figures import figures, resampled
from reports.confidence.kept import kept_names, kept_path
from reports.confidence.tables import _range, with_intervals
from reports.measured import measured_tables
from reports.pictures.curves import pictures
from reports.pictures.plots import draw
from reports.pictures.shapes import SureCurve
from slurm.errors import UserError
from tests.reports.confidence.outcome_zoo import (
    logreg,
    low_shot,
    probe,
    scores_and_labels,
    svm,
    svm_of_layers,
)

AVGPOOL = ("one", 500), ("two", 510), ("three", 700), ("four", 690)


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    for name, right in AVGPOOL:
        probe(tmp_path, name, np.arange(1000) < right)
    # Nearly as good as the best one, on other images: not separable from it.
    probe(tmp_path, "five", np.arange(1000) >= 301)
    svm(tmp_path, "one", *scores_and_labels(1, 1.0))
    return tmp_path


def printed(zoo: Path, capsys: pytest.CaptureFixture, *flags: str) -> str:
    main(["--zoo", str(zoo), *flags])
    return capsys.readouterr().out


def test_every_cell_says_how_sure_it_is(zoo: Path, capsys: pytest.CaptureFixture) -> None:
    text = printed(zoo, capsys, "--ci")
    row = next(line for line in text.splitlines() if line.startswith("| one") and "50.00" in line)
    value, half = row.split("|")[-2].split("±")
    assert float(value) == 50.0
    assert float(half) == pytest.approx(1.96 * 100 * np.sqrt(0.25 / 1000), rel=0.05)
    assert "**±**: half the 95 % interval over test sets of as many images" in text


def test_bold_are_the_best_and_all_that_are_not_separable(
    zoo: Path, capsys: pytest.CaptureFixture
) -> None:
    text = printed(zoo, capsys, "--ci", "--bold")
    bold = [name for name, _ in AVGPOOL if f"| {name}" in text and _is_bold(text, name)]
    assert bold == ["three"]  # its images hold all of four's, so that four is separable
    assert _is_bold(text, "five")


def test_what_bold_is_stands_below_the_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of figures with few labels no outcomes are kept: the highest of them is bold alone."""
    for name, few, right in (("one", 40.0, range(500)), ("two", 41.0, range(250, 745))):
        logreg(tmp_path, name, np.isin(np.arange(1000), right), few)
    every = (
        "Bold: the highest figure of a column, and those whose difference from it has a paired "
        "95 % interval that holds 0"
    )
    alone = "; in columns without ± the highest alone."
    text = printed(tmp_path, capsys, "--ci", "--bold")
    shown = {"one": "LogReg", "two": "LogReg 1-shot 10%"}  # what is bold
    header = _row(text, "Self-Supervised Config")
    for name, columns in shown.items():
        cells = zip(header, _row(text, name), strict=True)
        assert " ".join(column for column, cell in cells if "**" in cell) == columns
    assert f"no outcomes are kept of these. **Bold**{every.removeprefix('Bold')}{alone}" in text
    latex = printed(tmp_path, capsys, "--ci", "--bold", "--format", "latex")
    below = latex.partition(r"\bottomrule")[2]
    lines = re.findall(r"\\multicolumn\{\d+\}\{l\}\{(.*)\} \\\\", below)
    said = " ".join(lines).replace("\\%", "%").replace(r"$\pm$", "±")
    assert f"{every}{alone}" in said
    for flags in (["--ci"], ["--bold"], ["--ci", "--format", "latex"]):
        assert "Bold" not in printed(tmp_path, capsys, *flags)
    for name, count in (("one", 500), ("two", 600)):  # with intervals in every column
        probe(tmp_path, name, np.arange(1000) < count)
    linear = printed(tmp_path, capsys, "--ci", "--bold").partition("Logistic")[0]
    assert f"**Bold**{every.removeprefix('Bold')}.\n" in linear


def _row(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.split("|")]


def test_nothing_is_called_as_good_as_a_best_row_that_cannot_be_resampled(
    zoo: Path, capsys: pytest.CaptureFixture
) -> None:
    """`three` and `five` overlap; of `best`, ten points above them, nothing is kept."""
    path = probe(zoo, "best", np.arange(1000) < 800)
    results.write(path, msgspec.structs.replace(read_record(path), outcomes=None))
    text = printed(zoo, capsys, "--ci", "--bold")
    names = [*(name for name, _ in AVGPOOL), "five", "best"]
    assert [name for name in names if _is_bold(text, name)] == ["best"]


def test_what_every_resample_gives_has_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """All of 36 images are right: the next one may well be wrong."""
    for name, right in (("all", 36), ("most", 30)):
        probe(tmp_path, name, np.arange(36) < right)
    text = printed(tmp_path, capsys, "--ci", "--bold")
    assert "| **100.00**" in text
    assert "± 0.0" not in text
    assert "83.33 ±" in text
    reason = (
        "every resample of the 36 test images gives the same figure, where the bootstrap has no "
        "spread."
    )
    assert f"1 figure has no interval: all AvgPool, as {reason}" in text
    rows = csv.DictReader(io.StringIO(printed(tmp_path, capsys, "--ci", "--format", "csv")))
    cell = next(row for row in rows if row["name"] == "all" and row["column"] == "AvgPool")
    assert (cell["low"], cell["high"]) == ("", "")
    scores = np.tile(np.eye(3, dtype=np.float32), (12, 1))
    svm(tmp_path, "perfect", scores, scores.astype(np.int8))
    collection = collect(tmp_path)
    assert picture_bounds(measured_tables(collection), collection) == {}


def test_columns_without_an_interval_are_a_range_only_side_by_side() -> None:
    every = ["SVM", "k=1", "k=2", "k=4", "k=8", "k=16"]
    assert _range(every[1:5], every) == "k=1 to k=8"
    assert _range(["SVM", "k=1", "k=4", "k=8"], every) == "SVM, k=1, k=4, k=8"
    assert _range(every[:3], every) == "SVM, k=1, k=2"


def test_a_row_as_good_as_a_perfect_one_is_marked_and_a_far_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name, right in (("all", 36), ("too", 36), ("near", 35), ("far", 20), ("none", 0)):
        probe(tmp_path, name, np.arange(36) < right)
    text = printed(tmp_path, capsys, "--ci", "--bold")
    names = ("all", "too", "near", "far", "none")
    assert [name for name in names if _is_bold(text, name)] == ["all", "too", "near"]


def _is_bold(text: str, name: str) -> bool:
    rows = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return any("**" in row.split("|")[-2] for row in rows)


def test_without_the_flag_nothing_changes(zoo: Path, capsys: pytest.CaptureFixture) -> None:
    before = printed(zoo, capsys)
    printed(zoo, capsys, "--ci")
    assert printed(zoo, capsys) == before
    assert "±" not in before


def test_kept_samples_give_the_same_and_damaged_ones_are_made_again(
    zoo: Path, capsys: pytest.CaptureFixture
) -> None:
    fresh = printed(zoo, capsys, "--ci")
    kept = sorted((zoo / "intervals").iterdir())
    assert len(kept) == 7  # of each record, and of the SVM's halves
    assert printed(zoo, capsys, "--ci") == fresh
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    kept[1].write_bytes(b"")
    assert printed(zoo, capsys, "--ci") == fresh


def test_bounds_reach_csv_latex_and_the_page(zoo: Path, capsys: pytest.CaptureFixture) -> None:
    rows = list(csv.DictReader(io.StringIO(printed(zoo, capsys, "--ci", "--format", "csv"))))
    cell = next(row for row in rows if row["name"] == "one" and row["column"] == "AvgPool")
    assert 46 < float(cell["low"]) < 48
    assert 52 < float(cell["high"]) < 54
    assert "low" not in printed(zoo, capsys, "--format", "csv").splitlines()[0]
    half = (float(cell["high"]) - float(cell["low"])) / 2
    latex = printed(zoo, capsys, "--ci", "--format", "latex")
    assert rf"50.00 $\pm$ {half:.2f}" in latex
    printed(zoo, capsys, "--ci", "--html", str(zoo / "page.html"))
    low, high = float(cell["low"]), float(cell["high"])
    assert f'title="{low:.2f} to {high:.2f}"' in (zoo / "page.html").read_text()


def without(zoo: Path, path: Path, layer: str) -> None:
    """Outcomes as earlier builds kept them: of this layer the mAP on halves alone."""
    record = read_record(path)
    tensors = read_outcomes(path, record.outcomes or "", record.data["test"])
    old = {name: one for name, one in tensors.items() if name != f"{layer}.k=1.ranks"}
    outcomes = write_outcomes(path, old, record.data["test"])
    results.write(path, msgspec.structs.replace(record, outcomes=outcomes))


def test_low_shot_figures_of_the_full_svms_layer_have_intervals(
    zoo: Path, capsys: pytest.CaptureFixture
) -> None:
    good, labels = scores_and_labels(1, 2.0)
    bad = scores_and_labels(2, 0.5)[0]
    svm_of_layers(zoo, "net", {"feature4": bad, "feature5": good}, labels)
    path = low_shot(zoo, "net", {"feature4": good[None], "feature5": bad[None]}, labels)
    text = printed(zoo, capsys, "--ci")
    row = next(line for line in text.splitlines() if line.startswith("| net"))
    assert row.count("±") == 2  # the SVM at feature5, and k=1 there, which is best at feature4
    assert "have no interval" not in text
    without(zoo, path, "feature5")
    text = printed(zoo, capsys, "--ci")
    assert next(line for line in text.splitlines() if line.startswith("| net")).count("±") == 1
    assert "1 figure has no interval: net k=1, as" in text
    assert f"{path.name} is of an earlier build" in text
    assert "holds no outcomes of feature5: move it away and run its benchmark again" in text


def test_only_the_figures_that_are_shown_are_resampled_and_others_are_added(zoo: Path) -> None:
    good, labels = scores_and_labels(1, 2.0)
    path = svm_of_layers(zoo, "net", {"feature4": good + 1, "feature5": good}, labels)
    collection = collect(zoo)
    found = next(one for one in collection.found if one.path == path)
    values = {figure.name: figure for figure in figures(found)}
    kept = kept_path(zoo, found.record, {name: one.value for name, one in values.items()})
    (alone,) = resampled([values["feature5"]], zoo)
    assert kept_names(kept) == {"feature5"}
    other, again = resampled([values["feature4"], values["feature5"]], zoo)
    assert kept_names(kept) == {"feature4", "feature5"}
    assert np.array_equal(alone, again)
    assert np.array_equal(alone, other)  # of the same order of images
    kept.write_bytes(b"")
    assert kept_names(kept) == set()


def test_pictures_of_a_record_without_the_outcomes_of_its_best_layer(zoo: Path) -> None:
    good, labels = scores_and_labels(1, 2.0)
    bad = scores_and_labels(2, 0.5)[0]
    path = svm_of_layers(zoo, "one", {"feature4": bad, "feature5": good}, labels)
    record = read_record(path)
    kept = {"feature4.scores": bad, "labels": labels}
    outcomes = write_outcomes(path, kept, record.data["test"])
    results.write(path, msgspec.structs.replace(record, outcomes=outcomes))
    collection = collect(zoo)
    bounds = picture_bounds(measured_tables(collection), collection)
    assert [name for at, name in bounds if at == str(path)] == ["feature4"]


@pytest.mark.parametrize("flag", ["--seeds", "--compare", "--published"])
def test_two_meanings_of_plus_minus_are_refused(zoo: Path, flag: str) -> None:
    with pytest.raises(UserError, match="--ci"):
        main(["--zoo", str(zoo), "--ci", flag])


def test_pictures_have_the_intervals_of_their_points(
    zoo: Path, capsys: pytest.CaptureFixture
) -> None:
    collection = collect(zoo)
    plain = measured_tables(collection)
    sure = with_intervals(plain, collection)
    made = {one.name: one for one in pictures(sure, collection, picture_bounds(sure, collection))}
    cell = next(row for row in sure[1].table.rows if row.name == "one").cells["AvgPool"]
    curves = made["layers-imagenet-linear-digits"].panels[0].curves
    bars = {curve.label: curve.bars for curve in curves if isinstance(curve, SureCurve)}
    assert bars["one"] == ((cell.low, cell.high),)
    svm_cell = sure[0].table.rows[0].cells["SVM"]
    (layers,) = made["layers-voc-svm-digits"].panels[0].curves
    assert isinstance(layers, SureCurve)
    assert layers.bars == ((svm_cell.low, svm_cell.high),)
    (classes,) = made["classes-digits"].panels[0].curves
    assert isinstance(classes, SureCurve)
    for bar, value in zip(classes.bars, classes.y, strict=True):
        assert bar is not None
        assert bar[0] < value < bar[1]
        assert bar[1] - bar[0] > svm_cell.high - svm_cell.low  # a class has fewer positives
    assert "bars are 95 % intervals" in made["classes-digits"].alt
    unsure = {one.name: one for one in pictures(plain, collection)}
    assert not any("bars" in one.alt for one in unsure.values())
    for name in ("classes-digits", "layers-imagenet-linear-digits"):
        drawn = [draw(found[name], "svg") for found in (made, made, unsure)]
        assert drawn[0] == drawn[1]
        bars_drawn = [one.count(b'id="LineCollection_') for one in drawn]
        points = sum(len(curve.x) for panel in made[name].panels for curve in panel.curves)
        assert bars_drawn == [points, points, 0]

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks import results
from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.records import read_record
from benchmarks.outcomes.files import read_outcomes, write_outcomes
from reports.__main__ import main
from reports.collect import collect
from reports.confidence.paired import Column
from reports.confidence.pairs import paired_rows
from reports.confidence.picture import drawn
from reports.measured import measured_tables
from slurm.errors import UserError
from tests.reports.confidence.outcome_zoo import (
    IMAGES,
    knn,
    logreg,
    probe,
    scores_and_labels,
    svm,
)


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Two rows: the second has the images right that the first has, and 30 more; 10 it loses."""
    right = np.arange(1000) < 500
    better = right.copy()
    better[500:530], better[:10] = True, False
    probe(tmp_path, "one", right)
    probe(tmp_path, "two", better)
    for name, seed, strength in (("one", 1, 1.0), ("two", 2, 2.5)):
        svm(tmp_path, name, *scores_and_labels(seed, strength))
    return tmp_path


def compared(zoo: Path, *names: str) -> dict:
    out = zoo / "out.json"
    main(["compare", *names, "--zoo", str(zoo), "--json", str(out)])
    return json.loads(out.read_text())


def test_every_column_has_its_paired_interval(zoo: Path, capsys: pytest.CaptureFixture) -> None:
    columns = {one["column"]: one for one in compared(zoo, "one", "two")["columns"]}
    assert set(columns) == {"SVM", "AvgPool"}
    top1 = columns["AvgPool"]
    assert (top1["a"], top1["b"], top1["difference"]) == (50.0, 52.0, pytest.approx(2.0))
    assert (top1["wins"], top1["losses"]) == (30, 10)
    # The exact standard error of a paired difference of proportions.
    error = 100 * np.sqrt((40 / 1000 - (20 / 1000) ** 2) / 1000)
    assert top1["high"] - top1["low"] == pytest.approx(2 * 1.96 * error, rel=0.06)
    assert top1["separable"]
    assert 0 < top1["p"] < 0.01
    assert top1["p_holm"] == pytest.approx(max(2 * columns["SVM"]["p"], top1["p"]))
    assert columns["SVM"]["separable"]
    assert set(columns["SVM"]["classes"]) == {"class0", "class1", "class2"}
    said = capsys.readouterr().out
    assert "two is better" in said
    assert "of the images 30 only two has right, 10 only one" in said


def test_quick_answers_have_their_images_won_and_lost_and_name_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Of the figures with few labels, means over draws, no outcome of an image is kept."""
    right = np.arange(1000) < 500
    better = right.copy()
    better[500:530], better[:10] = True, False
    for name, one in (("one", right), ("two", better)):
        knn(tmp_path, name, {10: right, 20: one})
        logreg(tmp_path, name, one, few=40.0)
    found = compared(tmp_path, "one", "two")
    assert [(one["column"], one["wins"], one["losses"]) for one in found["columns"]] == [
        ("k=10", 0, 0),
        ("k=20", 30, 10),
        ("LogReg", 30, 10),
    ]
    title = "ImageNet Logistic Regression"
    assert found["missing"] == [f"{title}, 1-shot, 10%: no outcomes are kept of these"]
    said = capsys.readouterr().out
    assert f"- {title}, LogReg: of the images 30 only two has right, 10 only one." in said
    assert f"- Not compared: {title}, 1-shot, 10%: no outcomes are kept of these." in said


def test_equal_models_are_not_separable(zoo: Path, capsys: pytest.CaptureFixture) -> None:
    probe(zoo, "three", np.arange(1000) < 500)
    found = compared(zoo, "one", "three")["columns"]
    assert [(one["low"], one["high"], one["p"], one["separable"]) for one in found] == [
        (0.0, 0.0, 1.0, False)
    ]
    assert "not separable" in capsys.readouterr().out


def test_rows_of_own_data_are_compared(zoo: Path, capsys: pytest.CaptureFixture) -> None:
    for name, count in (("one", 500), ("two", 600)):
        probe(zoo, name, np.arange(1000) < count, own="my_birds_")
    found = compared(zoo, "one", "two")["columns"]
    assert {one["table"]: one["title"] for one in found} == {
        "imagenet-linear": "ImageNet Linear Evaluation",
        "voc-svm": "VOC SVM / Low-shot SVM",
        "own-my_birds_-linear": "my_birds_ Linear Evaluation",
    }
    said = capsys.readouterr().out
    assert "| my_birds\\_ Linear Evaluation (digits) " in said
    assert "- my_birds\\_ Linear Evaluation, AvgPool: of the images 100 only two has right" in said
    picture = zoo / "own.svg"
    main(["compare", "one", "two", "--zoo", str(zoo), "--picture", str(picture)])
    assert "my_birds_ Linear Evaluation (digits), AvgPool" in picture.read_text()


def test_an_interval_does_not_change_with_the_rows_beside_it(zoo: Path) -> None:
    probe(zoo, "three", np.arange(1000) < 700)
    alone = compared(zoo, "one", "two")["columns"]
    beside = compared(zoo, "one", "three", "two")["columns"]
    assert [one for one in beside if one["second"] == "two"] == alone


def test_the_interval_covers_its_own_figure_again(zoo: Path) -> None:
    found = compared(zoo, "one", "two")["columns"]
    assert all(one["low"] < one["difference"] < one["high"] for one in found)


def test_rows_of_which_every_resample_is_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name, right in (("all", 36), ("too", 36), ("none", 0)):
        probe(tmp_path, name, np.arange(36) < right)
    (column,) = compared(tmp_path, "all", "too")["columns"]
    assert (column["low"], column["high"], column["p"], column["separable"]) == (0, 0, 1, False)
    assert "| not separable |" in capsys.readouterr().out
    found = compared(tmp_path, "all", "none")
    (column,) = found["columns"]
    assert (column["low"], column["high"], column["separable"]) == (-100, -100, True)
    assert column["p"] == pytest.approx(2 / 10001)
    assert found["missing"] == []
    assert "| all is better |" in capsys.readouterr().out
    collection = collect(tmp_path)
    (pairs,) = paired_rows(measured_tables(collection), collection)  # all, none, too
    assert {at: one.separable for at, (one,) in pairs.columns.items()} == {
        "0,1": True,
        "0,2": False,
        "1,2": True,
    }


def test_a_record_without_outcomes_is_named(zoo: Path, capsys: pytest.CaptureFixture) -> None:
    path = next(zoo.glob("results/two/voc07_svm/*.json"))
    record = json.loads(path.read_text()) | {"outcomes": None}
    path.write_text(json.dumps(record))
    found = compared(zoo, "one", "two")
    assert [one["column"] for one in found["columns"]] == ["AvgPool"]
    # With the parts: they are of the same build, and make the same record again.
    assert "holds no outcomes: move it away, with the folder parts" in found["missing"][0]
    assert "Not compared" in capsys.readouterr().out


def test_a_layer_whose_outcomes_are_not_kept_is_named(zoo: Path) -> None:
    path = next(zoo.glob("results/two/voc07_svm/*.json"))
    record = read_record(path)
    tensors = read_outcomes(path, record.outcomes or "", record.data["test"])
    kept = {"feature4.scores": tensors["feature5.scores"], "labels": tensors["labels"]}
    outcomes = write_outcomes(path, kept, record.data["test"])
    results.write(path, msgspec.structs.replace(record, outcomes=outcomes))
    missing = compared(zoo, "one", "two")["missing"]
    assert len(missing) == 1
    assert "holds no outcomes of feature5: move it away, with the folder parts" in missing[0]


@pytest.mark.parametrize("fault", ["cut", "missing", "another", "figure"])
def test_wrong_outcomes_are_one_line(zoo: Path, fault: str) -> None:
    path = next(zoo.glob("results/two/imagenet_avgpool/*.json"))
    outcomes = path.with_name(path.name.replace(".json", ".outcomes.safetensors"))
    if fault == "cut":
        outcomes.write_bytes(outcomes.read_bytes()[:-4])
    elif fault == "missing":
        outcomes.unlink()
    elif fault == "another":
        other = next(zoo.glob("results/one/imagenet_avgpool/*.safetensors"))
        outcomes.write_bytes(other.read_bytes())
    else:
        record = json.loads(path.read_text())
        head = record["heads"]["avgpool"]
        record["heads"]["avgpool"] = head | {"top1": 60.0, "top1_by_epoch": [60.0] * 100}
        record["heads"]["avgpool"]["best_top1"] = 60.0
        path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=path.stem.partition("-")[0]):
        main(["compare", "one", "two", "--zoo", str(zoo)])


def test_a_record_that_names_no_test_images_is_one_line(zoo: Path) -> None:
    for path in zoo.glob("results/*/imagenet_avgpool/*.json"):
        record = json.loads(path.read_text())
        record["data"].pop("val")
        path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="does not say which images"):
        main(["compare", "one", "two", "--zoo", str(zoo)])


def test_nothing_to_compare_is_said(zoo: Path) -> None:
    svm(zoo, "alone", *scores_and_labels(3, 1.0))
    probe(zoo, "other", np.ones(IMAGES, bool))
    with pytest.raises(UserError, match="no figures in one table"):
        main(["compare", "alone", "other", "--zoo", str(zoo)])
    with pytest.raises(UserError, match="named twice"):
        main(["compare", "one", "one", "--zoo", str(zoo)])


def test_a_picture_is_drawn_the_same_again(zoo: Path) -> None:
    for name in ("a.svg", "b.svg"):
        main(["compare", "one", "two", "--zoo", str(zoo), "--picture", str(zoo / name)])
    assert (zoo / "a.svg").read_bytes() == (zoo / "b.svg").read_bytes()
    with pytest.raises(UserError, match=r"end in \.svg or \.png"):
        main(["compare", "one", "two", "--zoo", str(zoo), "--picture", str(zoo / "a.pdf")])


@pytest.mark.parametrize("seconds", [["two"], ["two", "sobel_resnet50_8xb64-steplr-200e_in1k"]])
@pytest.mark.parametrize(
    "own", ["", "my photographs of the last year, sorted by hand ", "long " * 60]
)
def test_nothing_of_a_picture_is_cut_off(seconds: list[str], own: str) -> None:
    title = f"{own}Linear Evaluation"
    numbers = {"a": 50.0, "b": 49.0, "difference": -1.0, "low": -3.0, "high": 1.0, "p": 0.4}
    columns = [
        Column(
            "t",
            title,
            "custom",
            f"Feature{at}",
            "one",
            second,
            **numbers,
            p_holm=1,
            separable=no,
            images=60,
        )
        for second in seconds
        for at, no in ((1, False), (2, True))
    ]
    figure = drawn(columns)
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height
    (axes,) = figure.axes
    labels = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert labels[0].y0 > labels[1].y1  # the first stands above, and none over another
    assert len(axes.get_yticks()) == 2
    assert axes.get_xlabel().startswith("percent points, paired 95 % interval")


def test_partial_data_and_changed_numbers_stand_beside_every_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Sixty images at another learning rate: no result of the protocol on ImageNet."""
    changed = replace(IMAGENET_AVGPOOL, variant="custom", learning_rate=1.0)
    for name, right in (("one", 30), ("two", 40)):
        probe(tmp_path, name, np.arange(60) < right, protocol=IMAGENET_AVGPOOL)
        probe(tmp_path, name, np.arange(60) < right, seed=1, protocol=changed)
    plain = "ImageNet Linear Evaluation, partial data, 69 of 1,331,167 images"
    found = compared(tmp_path, "one", "two")["columns"]
    assert [(one["title"], one["variant"], one["images"]) for one in found] == [
        (plain, "mmselfsup", 60),
        (f"{plain}, learning_rate 1.0 instead of 30.0", "custom", 60),
    ]
    said = capsys.readouterr().out
    assert f"| {plain} " in said
    assert f"| {plain}, learning_rate 1.0 instead of 30.0 (custom) | AvgPool | " in said
    assert f"- Test images: 60 in {plain}; 60 in {plain}, learning_rate" in said
    picture = tmp_path / "x.svg"
    main(["compare", "one", "two", "--zoo", str(tmp_path), "--picture", str(picture)])
    drawn_text = " ".join(picture.read_text().split())
    assert "partial data, 69 of" in drawn_text
    assert "learning_rate 1.0 instead of" in drawn_text


def test_two_custom_tables_are_told_apart_by_what_was_not_changed(tmp_path: Path) -> None:
    """One learning rate in two precisions; and two, of which the change itself says which."""
    rates = (1.0, 1.0, 2.0)
    for name, right in (("one", 30), ("two", 40)):
        for seed, (rate, precision) in enumerate(zip(rates, ("tf32", "amp", "tf32"))):
            protocol = replace(IMAGENET_AVGPOOL, variant="custom", learning_rate=rate)
            path = probe(tmp_path, name, np.arange(60) < right, seed=seed, protocol=protocol)
            record = msgspec.structs.replace(read_record(path), seed=0, precision=precision)
            results.write(path, record)
    found = compared(tmp_path, "one", "two")["columns"]
    data = "partial data, 69 of 1,331,167 images"
    assert sorted(one["title"].partition(" of 3, ")[2] for one in found) == [
        f"precision amp, {data}, learning_rate 1.0 instead of 30.0",
        f"precision tf32, {data}, learning_rate 1.0 instead of 30.0",
        f"precision tf32, {data}, learning_rate 2.0 instead of 30.0",
    ]


def test_tables_measured_otherwise_are_told_apart(zoo: Path) -> None:
    for name in ("one", "two"):
        path = next(zoo.glob(f"results/{name}/imagenet_avgpool/*.json"))
        record = read_record(path)
        other = path.with_name("again.json")
        tensors = read_outcomes(path, record.outcomes or "", record.data["val"])
        write_outcomes(other, tensors, record.data["val"])
        results.write(other, msgspec.structs.replace(record, protocol_version=2))
    found = compared(zoo, "one", "two")["columns"]
    assert sorted(one["title"] for one in found) == [
        "ImageNet Linear Evaluation, 1 of 2, version 2",
        "ImageNet Linear Evaluation, 2 of 2, version 1",
        "VOC SVM / Low-shot SVM",
    ]

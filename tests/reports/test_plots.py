"""What the pictures show, and that drawing them gives the same bytes each time."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR, IMAGENET_LINEAR
from reports.collect import collect
from reports.measured import measured_tables
from reports.pictures.curves import pictures
from reports.pictures.plots import draw, places_of, write
from reports.pictures.shapes import Curve, Panel, Picture, SureCurve

HISTORY = {
    "loss": [3.0, 2.0, 1.0],
    "nmi_previous": [None, 0.3, 0.5],
    "nmi_labels": [0.2, 0.3, 0.4],
    "smallest": [1, 2, 3],
    "median": [10.0, 11.5, 12.0],
    "largest": [90, 80, 70],
    "empty": [2, 0, 0],
}


def found(zoo: Any) -> dict[str, Picture]:
    collection = collect(zoo.path)
    return {p.name: p for p in pictures(measured_tables(collection), collection)}


def test_every_figure_of_a_picture_is_that_of_the_records(zoo: Any) -> None:
    zoo.deepcluster()
    made = found(zoo)
    (layers,) = made["layers-imagenet-linear-mmselfsup"].panels
    (curve,) = layers.curves
    assert curve.y == (12.78, 30.81, 43.88, 57.71, 51.68, 46.92)
    assert layers.ticks[-1] == "AvgPool"
    (svm,) = made["layers-voc-svm-mmselfsup"].panels
    assert (svm.curves[0].x, svm.curves[0].y) == ((3.0, 4.0), (70.0, 74.26))
    (low_shot,) = made["low-shot-mmselfsup"].panels
    (curve,) = low_shot.curves
    assert curve.label == "sobel_resnet50_8xb64-steplr-200e (feature5)"
    assert curve.x == (1, 2, 4, 8, 16, 32, 64, 96)
    assert curve.y[0] == 29.37
    assert (curve.low[0], curve.high[0]) == pytest.approx((27.37, 31.37))
    (classes,) = made["classes-mmselfsup"].panels
    assert len(classes.curves[0].y) == len(classes.ticks) == 20
    path = zoo.path / "results" / curve.label.split(" ")[0] / "voc07_svm" / "voc07_svm-0.json"
    record = json.loads(path.read_bytes())
    assert list(classes.curves[0].y) == record["layers"]["feature5"]["ap"]


def test_the_best_epoch_is_no_layer_of_a_picture(zoo: Any) -> None:
    zoo.deepcluster()
    collection = collect(zoo.path)
    plain, best = (
        pictures(measured_tables(collection, best=best), collection) for best in (False, True)
    )
    assert plain == best


@pytest.mark.parametrize(
    "history",
    [
        HISTORY,
        [
            {
                "epoch": epoch + 1,
                "nmi_previous": HISTORY["nmi_previous"][epoch],
                "nmi_labels": HISTORY["nmi_labels"][epoch],
                "sizes": {
                    "min": HISTORY["smallest"][epoch],
                    "median": HISTORY["median"][epoch],
                    "max": HISTORY["largest"][epoch],
                    "empty": HISTORY["empty"][epoch],
                },
            }
            for epoch in range(3)
        ],
    ],
)
def test_the_pretraining_curves_come_from_the_card(zoo: Any, history: object) -> None:
    zoo.probe("net", {"feature5": 50.0})
    zoo.card("net", pretraining={"history": history})
    nmi, sizes = found(zoo)["pretraining-net"].panels
    assert {curve.label: (curve.x, curve.y) for curve in nmi.curves} == {
        "against labels": ((1, 2, 3), (0.2, 0.3, 0.4)),
        "against the previous clusters": ((2, 3), (0.3, 0.5)),
    }
    assert {curve.label: curve.y for curve in sizes.curves} == {
        "largest": (90, 80, 70),
        "median": (10, 11.5, 12),
        "smallest": (1, 2, 3),
        "empty clusters": (2, 0, 0),
    }


@pytest.mark.parametrize(
    "history", [None, 3, [], {}, [1, 2], {"loss": "x"}, {"nmi_labels": [None]}]
)
def test_a_card_without_a_history_has_no_picture(zoo: Any, history: object) -> None:
    zoo.probe("net", {"feature5": 50.0})
    zoo.card("net", pretraining={"history": history})
    assert "pretraining-net" not in found(zoo)


@pytest.mark.parametrize(
    ("heads", "ticks", "gap"),
    [
        (["feature2", "feature5"], ("Feature1", "Feature2", "Feature3", "Feature4", "Feature5"), 4),
        (["avgpool"], ("AvgPool",), None),
    ],
)
def test_layers_that_no_row_was_measured_on_have_no_place(
    zoo: Any, heads: list[str], ticks: tuple[str, ...], gap: int | None
) -> None:
    protocol = IMAGENET_AVGPOOL if heads == ["avgpool"] else IMAGENET_LINEAR
    zoo.probe("net", dict.fromkeys(heads, 50.0), protocol)
    (panel,) = found(zoo)["layers-imagenet-linear-mmselfsup"].panels
    assert (panel.ticks, panel.gap_after) == (ticks, gap)
    places = [int(x) for x in panel.curves[0].x]
    assert [ticks[place].lower() for place in places] == heads


def test_rows_with_bars_stand_side_by_side() -> None:
    curves = [SureCurve(name, (1.0, 8.0), (5.0, 6.0), bars=((4, 6), (5, 7))) for name in "abc"]
    plain = Panel("", "", "", tuple(Curve(one.label, one.x, one.y) for one in curves))
    assert [places_of(plain, one, at) for at, one in enumerate(plain.curves)] == [[1, 8]] * 3
    sure, log = (Panel("", "", "", tuple(curves), log_x=log_x) for log_x in (False, True))
    for panel, apart in ((sure, lambda x, other: other - x), (log, lambda x, other: other / x)):
        left, middle, right = (places_of(panel, one, at) for at, one in enumerate(curves))
        assert middle == [1, 8]
        distances = [apart(*pair) for pair in (*zip(left, middle), *zip(middle, right))]
        assert distances == pytest.approx([distances[0]] * 4)
        assert distances[0] == pytest.approx(0.08 if panel is sure else 2**0.08)
    many = replace(sure, curves=(curves[0],) * 50)
    reach = places_of(many, curves[0], 49)[0] - places_of(many, curves[0], 0)[0]
    assert reach < 0.5  # of one place


@pytest.mark.parametrize(("costs", "ticks"), [(45, 12), (8, 8)])
def test_many_values_of_a_logarithmic_axis_are_told_by_decades(costs: int, ticks: int) -> None:
    x = tuple(10.0 ** (-6 + 11 * number / 44) for number in range(costs))
    panel = Panel("t", "C", "y", (Curve("net", x, (50.0,) * costs),), log_x=True)
    drawn = draw(Picture("costs", "", (panel,)), "svg")
    assert drawn.count(b'<g id="xtick_') == ticks


def test_tables_of_one_variant_have_pictures_of_their_own(zoo: Any) -> None:
    zoo.probe("a", {"feature5": 50.0}, DIGITS_IMAGENET_LINEAR)
    zoo.probe("b", {"feature5": 50.0}, DIGITS_IMAGENET_LINEAR, protocol_version=2)
    names = list(found(zoo))
    assert names == ["layers-imagenet-linear-digits", "layers-imagenet-linear-digits-2"]
    titles = [picture.panels[0].title for picture in found(zoo).values()]
    start = "ImageNet Linear Evaluation, variant digits"
    assert titles == [f"{start}, 1 of 2", f"{start}, 2 of 2"]


def test_a_picture_beside_means_says_which_seeds_it_shows(zoo: Any) -> None:
    for seed in (0, 1):
        zoo.svm("net", {"feature5": 70.0 + seed}, seed=seed)
        zoo.probe("net", {"feature5": 50.0 + seed}, seed=seed)
    collection = collect(zoo.path)
    for seeds, svm, layers in (
        (False, "", ""),
        (True, ", lowest seed", ", mean over seeds"),
    ):
        made = pictures(measured_tables(collection, seeds=seeds), collection)
        assert [picture.panels[0].title for picture in made] == [
            f"VOC07 SVM, variant mmselfsup{svm}",
            f"VOC07 SVM by class, variant mmselfsup{svm}",
            f"ImageNet Linear Evaluation, variant mmselfsup{layers}",
        ]
        assert made[0].panels[0].curves[0].y == (70.0,)
        assert made[2].panels[0].curves[0].y == (50.5 if seeds else 50.0,)


def test_too_many_rows_are_cut_and_the_title_says_so(zoo: Any) -> None:
    for number in range(14):
        zoo.probe(f"net{number:02d}", {"feature5": 50.0})
    (panel,) = found(zoo)["layers-imagenet-linear-mmselfsup"].panels
    assert [curve.label for curve in panel.curves] == [f"net{n:02d}" for n in range(12)]
    assert panel.title.endswith("(12 of 14 rows)")


def test_drawing_gives_the_same_bytes_without_a_date(tmp_path: Path) -> None:
    curves = tuple(
        Curve(f"row {n}", (1, 2, 96), (n, 2 * n, 9 * n), (0, 0, 0), (9, 9, 99)) for n in (1, 2)
    )
    picture = Picture("low-shot", "words", (Panel("t", "k", "mAP", curves, log_x=True),))
    write(tmp_path, [picture])
    svg = (tmp_path / "low-shot.svg").read_bytes()
    assert svg == draw(picture, "svg")
    assert b"<dc:date>" not in svg
    assert b"<svg" in svg
    png = (tmp_path / "low-shot.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert width > 800
    assert height > 500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["low-shot.png", "low-shot.svg"]


def test_many_rows_of_every_kind_can_be_drawn() -> None:
    points = tuple(float(n) for n in range(5))
    curves = tuple(Curve(f"$row_{n} <&>", points, points) for n in range(9))
    ticks = tuple("abcde")
    panels = (
        Panel("gap", "", "y", curves, ticks, gap_after=3),
        Panel("sizes", "epoch", "images", curves, log_y=True),
    )
    assert draw(Picture("a", "", panels), "svg").startswith(b"<?xml")
    sideways = (Panel("classes", "", "AP", curves, ticks, sideways=True),)
    assert draw(Picture("b", "", sideways), "svg").startswith(b"<?xml")

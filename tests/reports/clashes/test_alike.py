"""Two records of one cell: the fuller one, a table for each, or an error that says what differs."""

from pathlib import Path
from statistics import pstdev
from typing import Any

import msgspec
import pytest
from msgspec import to_builtins

from benchmarks import results
from benchmarks.catalog.further.imagenet_knn import DIGITS_KNN
from benchmarks.catalog.further.imagenet_logreg import DIGITS_LOGREG
from benchmarks.catalog.records import read_record
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.knn.record import Accuracy, KnnRecord
from benchmarks.logreg.record import FewLabels, LogregRecord, PathPoint
from benchmarks.results import Checkpoint, LowShotLayer, LowShotRecord
from reports.collect import collect
from reports.document import measured_section
from reports.footnotes import footnotes
from reports.measured import Measured, measured_tables
from slurm.errors import UserError
from tests.reports.conftest import IMAGES, features
from tests.reports.test_measured import texts

TWO = {"feature4": 70.0, "feature5": 60.0}
FIVE = features([30.0, 80.0, 50.0, 70.0, 60.0])
HEADS = features([1.0, 2.0, 3.0, 4.0, 5.0])


def tables(zoo: Any) -> list[Measured]:
    return measured_tables(collect(zoo.path))


def gram(**changes: Any) -> dict[str, Any]:
    """The settings of a low-shot record; for other SVMs the solver alone counts of them."""
    return to_builtins(VOC07_LOW_SHOT) | {"solver": "gram"} | changes


def knn(zoo: Any, name: str, top1: float, precision: str, key: str, **extra: Any) -> Path:
    made = {
        "k": {"10": Accuracy(top1, 100.0)},
        "temperature": 0.07,
        "grid": {"0.07": {"10": top1}},
        "dimensions": 8,
        "data": IMAGES,
        "precision": precision,
        "key": key,
        "notes": ("half-precision forward",) * (precision == "amp"),
        **extra,
    }
    path: Path = zoo._write(KnnRecord, DIGITS_KNN, name, made)
    return path


def logreg(zoo: Any, name: str, source: str, key: str, top1: float = 60.0) -> Path:
    draws = (40.0,) if source != "drawn" else (38.0, 40.0, 42.0)
    spread = pstdev(draws)
    few = FewLabels(40.0, min(draws), max(draws), spread, 1.0, draws, (30.0,), 100, source)
    made = {
        "top1": top1,
        "top5": 90.0,
        "cost": 1.0,
        "path": (PathPoint(1.0, 50.0, top1, 1.0, 0.0),),
        "held_out": 10,
        "shots": {},
        "fractions": {"0.1": few},
        "dimensions": 8,
        "data": IMAGES,
        "key": key,
    }
    path: Path = zoo._write(LogregRecord, DIGITS_LOGREG, name, made)
    return path


def test_of_two_runs_on_other_layers_the_fuller_one_is_shown(zoo: Any) -> None:
    few = zoo.svm("net", TWO, key="two")
    full = zoo.svm("net", FIVE, key="five")
    found = collect(zoo.path)
    assert [item.path for item in found.found] == [full]
    assert found.skipped == (f"{few} holds no more than {full}",)
    (table,) = measured_tables(found)
    assert texts(table)["net"][:2] == ["feature2", "80.00"]


def test_runs_on_other_layers_are_joined(zoo: Any) -> None:
    """The best layer is that of all that were measured, whichever run it was of."""
    usual = {"precision": "fp32", "settings": gram()}
    low = zoo.svm("net", {"feature1": 30.0, "feature2": 80.0}, key="low", **usual)
    zoo.svm("net", TWO, key="high", **usual, versions={"torch": "9.9.9"}, commit="f" * 40)
    zoo.svm("other", TWO, **usual)
    (table,) = tables(zoo)
    assert texts(table)["net"][:2] == ["feature2", "80.00"]
    assert table.table.rows[0].cells["SVM"].records == (str(low),)
    section = measured_section(table)
    assert "other: feature4, feature5 alone" in section
    assert "torch 2.6.0 and 9.9.9" in section
    assert "f" * 40 in section
    zoo.low_shot("net", {"feature2": [10.0] * 8, "feature5": [50.0] * 8}, **usual)
    (table,) = tables(zoo)
    assert texts(table)["net"][:3] == ["feature2", "80.00", "10.00"]


def shots_alone(path: Path, *wanted: str) -> None:
    """Leave only these k in a low-shot record."""
    record = read_record(path)
    assert isinstance(record, LowShotRecord)
    layers = {
        name: LowShotLayer({k: layer.shots[k] for k in wanted})
        for name, layer in record.layers.items()
    }
    results.write(path, msgspec.structs.replace(record, layers=layers))


def test_of_two_runs_with_other_shots_the_fuller_one_is_shown(zoo: Any) -> None:
    means = {"feature5": [10.0 * k for k in range(1, 9)]}
    few = zoo.low_shot("net", means, key="few", settings=gram(shots=[1, 2]), precision="fp32")
    shots_alone(few, "1", "2")
    full = zoo.low_shot("net", means, key="full", settings=gram(), precision="fp32")
    assert [item.path for item in collect(zoo.path).found] == [full]
    shots_alone(full, "2", "4")  # now neither has all of the other
    (table,) = tables(zoo)
    cells = table.table.rows[0].cells
    assert {name: cell.value for name, cell in cells.items() if "k=" in name} == {
        "k=1": 10.0,
        "k=2": 20.0,
        "k=4": 30.0,
    }


def test_further_k_stay_with_the_layer_that_the_svm_chose(zoo: Any) -> None:
    """Whichever of the low-shot layers is best: so for rows of which nothing was added, too."""
    means = {"feature2": [1.0 * k for k in range(1, 9)], "feature5": [9.0] * 8}
    for name in ("net", "other"):
        zoo.svm(name, {"feature2": 80.0, "feature5": 60.0})
        first = zoo.low_shot(name, means, key="first", settings=gram(), precision="fp32")
        shots_alone(first, "1", "2")
    second = zoo.low_shot("net", means, key="second", settings=gram(), precision="fp32")
    shots_alone(second, "2", "8")
    (table,) = tables(zoo)
    assert texts(table)["net"][:4] == ["feature2", "80.00", "1.00", "2.00"]
    assert table.table.rows[0].cells["k=8"].value == 4.0
    assert texts(table)["other"][:4] == ["feature2", "80.00", "1.00", "2.00"]


def test_official_draws_of_other_k_are_joined_and_those_of_the_seed_are_apart(zoo: Any) -> None:
    """The fingerprint of official draws is of one k."""
    means = {"feature5": [10.0 * k for k in range(1, 9)]}
    for key, ks, draws in (("a", "12", "official:x"), ("b", "48", "official:y")):
        settings = gram(draws={k: draws + k for k in ks})
        path = zoo.low_shot("net", means, key=key, settings=settings, precision="fp32")
        shots_alone(path, *ks)
    (table,) = tables(zoo)
    assert {name for name in table.table.rows[0].cells if "k=" in name} == {
        f"k={k}" for k in (1, 2, 4, 8)
    }
    drawn = zoo.low_shot("net", means, key="c", settings=gram(), precision="fp32")
    shots_alone(drawn, "1", "2")
    assert len(tables(zoo)) == 2


def test_records_that_do_not_say_how_they_were_measured_are_not_joined(zoo: Any) -> None:
    zoo.svm("net", {"feature1": 30.0, "feature2": 80.0}, key="low", settings=gram())
    zoo.svm("net", TWO, key="high", settings=gram(), precision="fp32")
    assert len(tables(zoo)) == 2


def test_a_layer_that_was_measured_with_another_figure_is_in_another_table(zoo: Any) -> None:
    """On another machine, say: of the same layers it would be a contradiction."""
    zoo.svm("net", FIVE, key="five")
    zoo.svm("net", {"feature5": 60.1}, key="one")
    first, second = tables(zoo)
    assert [texts(one)["net"][1] for one in (first, second)] == ["80.00", "60.10"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "amp"}, "precision amp instead of fp32"),
        ({"settings": gram(solver="liblinear")}, "solver liblinear instead of gram"),
        ({"device": "cuda:0"}, "device cuda instead of cpu"),
    ],
)
def test_what_flags_change_stands_in_a_table_of_its_own(
    zoo: Any, changes: dict[str, Any], words: str
) -> None:
    usual = {"precision": "fp32", "settings": gram()}
    zoo.svm("net", FIVE, **usual)
    zoo.svm("net", {**FIVE, "feature5": 60.1}, key="again", **usual | changes)
    zoo.svm("other", FIVE, **usual)
    first, second = tables(zoo)
    assert [list(texts(one)) for one in (first, second)] == [["net", "other"], ["net"]]
    name = words.partition(" ")[0]
    assert f"1 of 2, measured otherwise: {name} of SVM)" in measured_section(first)
    assert f"- **Measured otherwise** than 1 of 2: SVM with {words}." in measured_section(second)


def test_rows_are_told_apart_in_all_of_a_table_and_never_mixed(zoo: Any) -> None:
    knn(zoo, "a", 50.0, "fp32", "x")
    knn(zoo, "a", 49.0, "amp", "y")
    knn(zoo, "b", 48.0, "amp", "x")
    first, second = tables(zoo)
    assert [[row.name for row in one.table.rows] for one in (first, second)] == [["a", "b"], ["a"]]
    assert "k-NN with precision amp instead of fp32" in measured_section(first)


def test_three_runs_are_each_told_from_the_others(zoo: Any) -> None:
    for number, precision in enumerate(("amp", "fp32", "tf32")):
        knn(zoo, "a", 50.0 + number, precision, precision)
    sections = [measured_section(table) for table in tables(zoo)]
    assert ["half-precision" in one for one in sections] == [False, False, True]
    assert "than 3 of 3: k-NN with precision tf32 instead of amp" in sections[1]
    assert "than 2 of 3: k-NN with precision amp instead of tf32" in sections[2]


def test_the_same_computation_twice_is_shown_once(zoo: Any) -> None:
    """k-NN on a CPU, by its own precision and with --precision fp32."""
    first = knn(zoo, "a", 50.0, "fp32", "x")
    second = knn(zoo, "a", 50.0, "fp32", "y")
    found = collect(zoo.path)
    assert [item.path for item in found.found] == [first]
    assert found.skipped == (f"{second} holds no more than {first}",)


def test_other_precisions_with_the_same_figures_are_two_measurements(zoo: Any) -> None:
    knn(zoo, "a", 50.0, "fp32", "x")
    knn(zoo, "a", 50.0, "amp", "y")
    assert len(tables(zoo)) == 2


def test_parts_that_were_measured_alike_stand_in_one_row(zoo: Any) -> None:
    for precision in ("fp32", "amp"):
        zoo.svm("net", FIVE, precision=precision, key=precision)
    means = {"feature2": [10.0] * 8}
    zoo.low_shot("net", means, precision="amp", key="amp")
    first, second = tables(zoo)
    assert texts(first)["net"][2:] == ["-"] * 8
    assert texts(second)["net"][2:] == ["10.00"] * 8


def test_a_row_is_of_one_precision_where_that_tells_tables_apart(zoo: Any) -> None:
    """Low-shot figures of fp32 do not stand at the best layer of an SVM in half precision."""
    for precision, value in (("fp32", 80.0), ("amp", 20.0)):
        zoo.svm("net", {**FIVE, "feature2": value}, precision=precision, key=precision)
    for solver, mean in (("gram", 10.0), ("liblinear", 11.0)):
        means = {"feature2": [mean] * 8, "feature4": [mean] * 8}
        zoo.low_shot("net", means, precision="fp32", key=solver, settings=gram(solver=solver))
    rows = [texts(table)["net"][:3] for table in tables(zoo)]
    assert rows == [
        ["feature2", "80.00", "10.00"],
        ["feature4", "70.00", "-"],
        ["feature2", "-", "11.00"],
    ]


def test_official_draws_that_came_later_stand_in_a_table_of_their_own(zoo: Any) -> None:
    ks = ("1", "2", "4", "8", "16", "32", "64", "96")
    own = gram(draws=dict.fromkeys(ks, "seed 0"))
    official = gram(draws={k: f"official:{int(k):032x}" for k in ks})
    zoo.low_shot("net", {"feature5": [10.0] * 8}, settings=own, key="own")
    zoo.low_shot("net", {"feature5": [20.0] * 8}, settings=official, key="official")
    first, second = tables(zoo)
    assert "draws by the seed instead of official 00000000" in measured_section(first)
    assert "; official draws; seed 0" in footnotes(second)[0]


def test_public_lists_that_came_later_stand_in_a_table_of_their_own(zoo: Any) -> None:
    logreg(zoo, "net", "drawn", "a")
    logreg(zoo, "net", "train_10percent.txt", "b")
    sections = [measured_section(table) for table in tables(zoo)]
    assert all("measured otherwise: labels)" in one for one in sections)
    assert any("labels 10% of train" in one.replace("\\", "") for one in sections)


def test_rows_of_lists_and_of_draws_are_told_apart_in_the_footnote(zoo: Any) -> None:
    logreg(zoo, "a", "drawn", "x")
    logreg(zoo, "b", "train_10percent.txt", "x")
    logreg(zoo, "c", "drawn", "x")
    (table,) = tables(zoo)
    note = footnotes(table)[0]
    assert (
        "few labels: of a, c mean over 3 draws by the seed, cost by the same held-out images, "
        "of b mean over no draw, cost by the same held-out images (10% of train_10percent.txt); "
    ) in note


def test_figures_that_contradict_each_other_say_in_what_they_differ(zoo: Any) -> None:
    first = zoo.probe("net", {"feature5": 50.0})
    second = zoo.probe("net", {"feature5": 51.0}, key="again", threads=8, commit="fedc")
    with pytest.raises(UserError) as caught:
        collect(zoo.path)
    says = str(caught.value)
    assert says.startswith(f"{first} and {second} both claim imagenet_linear of net (protocol ")
    assert "and differ: feature5 top-1 is 50 and 51, " in says
    assert says.endswith(
        "threads 2 and 8, commit 0123abc and fedc; remove the one that is out of date"
    )


def test_rows_of_fewer_layers_say_so(zoo: Any) -> None:
    zoo.svm("a", FIVE)
    zoo.svm("b", TWO)
    zoo.svm("c", {"feature5": 10.0})
    note = footnotes(tables(zoo)[0])[0]
    assert "b: feature4, feature5 alone, no other layer was measured; " in note
    assert "c: feature5 alone, no other layer was measured; " in note
    assert "a: " not in note


def test_rows_of_the_same_few_layers_need_no_word(zoo: Any) -> None:
    zoo.svm("a", TWO)
    zoo.svm("b", TWO)
    assert "alone" not in footnotes(tables(zoo)[0])[0]


def test_one_low_shot_layer_is_the_best_of_nothing(zoo: Any) -> None:
    zoo.low_shot("a", {"feature5": [10.0] * 8})
    notes = footnotes(tables(zoo)[0])
    assert "a: feature5 alone, no other layer was measured" in notes[0]
    assert not any("without an SVM" in note for note in notes)
    zoo.low_shot("b", {"feature4": [10.0] * 8, "feature5": [10.0] * 8})
    notes = footnotes(tables(zoo)[0])
    assert any("without an SVM: the best low-shot layer at the highest k (b)." in x for x in notes)


def test_rows_of_other_precisions_solvers_and_draws_say_so(zoo: Any) -> None:
    zoo.svm("a", FIVE, precision="fp32", settings=gram())
    zoo.svm("b", FIVE, precision="amp", settings=gram(solver="liblinear"))
    zoo.low_shot("a", {"feature2": [10.0] * 8}, settings=gram())
    official = gram(draws={"1": "official:" + "ab" * 16})
    zoo.low_shot("b", {"feature2": [10.0] * 8}, settings=official)
    svm, low_shot, *rest = footnotes(tables(zoo)[0])
    assert "; precision fp32 (a), amp (b); solver gram (a), liblinear (b); " in svm
    assert "; draws by the seed (a), official abababab (b); " in low_shot
    assert rest[-1] == "Note on b: half-precision forward"


def of_files(zoo: Any, layers: dict[str, float], weights: str, **files: str) -> Path:
    settings = gram(**({"features": files} if files else {}))
    made = Checkpoint("net", None, f"features:{weights}")
    path: Path = zoo.svm("net", layers, settings=settings, checkpoint=made, key=weights)
    return path


def test_other_layers_of_feature_files_are_no_other_network(zoo: Any) -> None:
    of_files(zoo, TWO, "two", feature4="x", feature5="y")
    full = of_files(zoo, FIVE, "five", **dict.fromkeys(FIVE, "x") | {"feature5": "y"})
    assert [item.path for item in collect(zoo.path).found] == [full]
    of_files(zoo, {"feature5": 9.0}, "other", feature5="z")
    with pytest.raises(UserError, match="different weights under the one name net"):
        collect(zoo.path)


def test_feature_files_are_held_against_every_record_of_their_layer(zoo: Any) -> None:
    """Whichever record is read first, and has another layer."""
    of_files(zoo, {"feature1": 9.0}, "a", feature1="x")
    of_files(zoo, {"feature5": 9.0}, "b", feature5="y")
    collect(zoo.path)
    of_files(zoo, {"feature5": 9.0}, "c", feature5="z")
    with pytest.raises(UserError, match="different weights under the one name net"):
        collect(zoo.path)


def test_feature_files_of_earlier_builds_are_one_set(zoo: Any) -> None:
    """Their records do not say of which layer a difference is."""
    of_files(zoo, TWO, "two")
    collect(zoo.path)
    of_files(zoo, FIVE, "five", **dict.fromkeys(FIVE, "x"))
    with pytest.raises(UserError, match="different weights under the one name net"):
        collect(zoo.path)


def test_low_shot_figures_of_another_layer_than_the_best_are_spoken_of(zoo: Any) -> None:
    zoo.svm("net", FIVE)
    zoo.low_shot("net", {"feature4": [10.0] * 8}, settings=gram())
    (table,) = tables(zoo)
    assert texts(table)["net"][2:] == ["-"] * 8
    section = measured_section(table)
    assert (
        "**Low-shot elsewhere**: net was measured on feature4 alone, not on its best layer "
        "feature2, and is not shown." in section
    )

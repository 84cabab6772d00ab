"""Records of k-NN and logistic regression whose figures do not fit each other are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from reports.__main__ import main
from reports.collect import collect
from slurm.errors import UserError
from tests.reports.conftest import Zoo


def edited(path: Path, place: str, value: object) -> None:
    """Put a value at a place such as `k/20/top1`; `old>new` renames a key."""
    record: Any = json.loads(path.read_bytes())
    *folders, last = place.split("/")
    inner = record
    for name in folders:
        inner = inner[int(name) if isinstance(inner, list) else name]
    old, renames, new = last.partition(">")
    if renames:
        inner[new] = inner.pop(old)
    else:
        inner[last] = value
    path.write_text(json.dumps(record))


def refused(zoo: Zoo, path: Path, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        main(["--zoo", str(zoo.path)])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert len(collect(zoo.path, skip_invalid=True).skipped) == 1


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("k/20/top1", 60.5, "top1 = 60.5 at k=20, but its grid has 60"),
        ("grid/0.07/20", 61.0, "top1 = 60.0 at k=20, but its grid has 61"),
        ("k/20/top5", 100.5, "outside 0..100: k=20 top5 = 100.5"),
        ("k/20/top5", 59.0, "top5 = 59.0 at k=20, less than top1 = 60"),
        ("grid/0.03/20", -1.0, "outside 0..100: grid 0.03 k=20 = -1.0"),
        ("k", {}, "no k, or one that is no whole number"),
        ("k/20>-3", None, "no k, or one that is no whole number from 1: \\['-3'\\]"),
        ("k/20>a|b", None, "no k, or one that is no whole number from 1: \\['a|b'\\]"),
        ("k/20>020", None, "no k, or one that"),
        ("k/20>" + "9" * 5000, None, "no k, or one that"),
        ("k/20>30", None, "has a grid of other k than its own"),
        ("grid/0.07>0.08", None, "has no grid of its temperature 0.07"),
        ("grid/0.07>warm", None, "has no grid of its temperature 0.07"),
        ("dimensions", -1, "negative number: dimensions"),
    ],
)
def test_nearest_neighbours(zoo: Zoo, place: str, value: object, says: str) -> None:
    path = zoo.knn("net", {10: 50.0, 20: 60.0})
    assert collect(zoo.path).skipped == ()
    edited(path, place, value)
    refused(zoo, path, says)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("top1", 71.0, "top1 = 71.0, but its path at its cost 1.0 has 70.0"),
        ("top5", 69.0, "top5 = 69.0, less than top1 = 70.0"),
        ("top5", 101.0, "outside 0..100: top5 = 101.0"),
        ("cost", 2.0, "no point in its path of its cost 2.0"),
        ("path", [], "no point in its path of its cost 1.0"),
        ("path/3/held_out_top1", 99.0, "cost = 1.0, which is not the best on the held-out"),
        ("path/3/top1", 101.0, "outside 0..100: path at 10.0 = 101.0"),
        ("shots/1/mean", 33.0, "mean = 33.0 in the row 1-shot, but its top1 gives 30.0"),
        ("shots/1/max", 60.0, "max = 60.0 in the row 1-shot"),
        ("shots/1/std", -0.5, "outside 0..100: few labels 1 = -0.5"),
        ("shots/1/std", 0.5, "std = 0.5 in the row 1-shot, but its top1 gives 1.4"),
        ("shots/1/top1", [], "no top1 in the row 1-shot"),
        ("shots/1/cost", 3.0, "cost = 3.0 in the row 1-shot, which is not the best"),
        ("shots/1/cost", 10.0, "cost = 10.0 in the row 1-shot, which is not the best"),
        ("shots/1/held_out_by_cost", [1.0], "1 values of held_out_by_cost in the row 1-shot, of 5"),
        ("shots/1/labels", 0, "labels = 0 in the row 1-shot"),
        ("fractions/0.1/mean", 33.0, "mean = 33.0 in the row of 0.1, but its top1 gives 30.0"),
        ("shots/1>a|b", None, "shots that are no whole number from 1: \\['a|b'\\]"),
        ("fractions/0.1>xx", None, "the fraction 'xx' is no number"),
        ("fractions/0.1>nan", None, "fractions that are no part of the labels"),
        ("fractions/0.1>0", None, "fractions that are no part of the labels"),
        ("fractions/0.1>1.5", None, "fractions that are no part of the labels"),
        ("fractions/0.1>0.010", None, "two fractions that are one"),
    ],
)
def test_logistic_regression(zoo: Zoo, place: str, value: object, says: str) -> None:
    path = zoo.logreg("net", 70.0, 30.0)
    assert collect(zoo.path).skipped == ()
    edited(path, place, value)
    refused(zoo, path, says)


def test_a_record_without_rows_of_few_labels_is_whole(zoo: Zoo) -> None:
    zoo.logreg("net", 70.0, 30.0, shots={}, fractions={})
    assert len(collect(zoo.path).found) == 1


@pytest.mark.parametrize("part", ["1", "1.0", "1e-05", "0.2"])
def test_fractions_as_the_benchmark_spells_them_are_read(zoo: Zoo, part: str) -> None:
    edited(zoo.logreg("net", 70.0, 30.0), f"fractions/0.1>{part}", None)
    assert len(collect(zoo.path).found) == 1

"""CSV, LaTeX and metadata hold the same figures as the tables."""

import csv
import io
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reports.collect import collect
from reports.exports import latex_escape, to_csv, to_latex
from reports.measured import Measured, measured_tables
from reports.metadata import to_metafile, to_model_index, to_yaml
from reports.tables import KINDS, Cell, Row, Table


@pytest.fixture
def measured(zoo: Any) -> list[Measured]:
    zoo.deepcluster()
    zoo.with_(weights="random:resnet50:True:0").probe("random-sobel_resnet50", {"feature5": 6.543})
    return measured_tables(collect(zoo.path))


def test_csv_has_one_line_a_cell_at_full_precision(measured: list[Measured]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([item.table for item in measured]))))
    cells = {(row["table"], row["name"], row["column"]): row for row in rows}
    assert len(cells) == len(rows) == 10 + 6 * 2 + 5
    name = "sobel_resnet50_8xb64-steplr-200e"
    assert cells["voc-svm", name, "Best Layer"]["text"] == "feature5"
    assert float(cells["voc-svm", name, "k=64"]["value"]) == 70.0
    assert cells["imagenet-linear", "random-sobel_resnet50", "Feature5"]["value"] == "6.543"
    assert cells["imagenet-linear", "random-sobel_resnet50", "Feature1"]["value"] == ""


def test_latex_is_booktabs(measured: list[Measured]) -> None:
    text = to_latex([item.table for item in measured], bold=True)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
    assert (
        r"sobel\_resnet50\_8xb64-steplr-200e & 12.78 & 30.81 & 43.88 & 57.71 & \textbf{51.68} "
        r"& 46.92 \\"
    ) in text
    assert r"random-sobel\_resnet50 & -- & -- & -- & -- & 6.54 & -- \\" in text


def test_latex_spreads_are_in_math_mode() -> None:
    row = Row("a", None, {"SVM": Cell(70.0, 0.5)})
    table = Table(KINDS["voc-svm"], "mmselfsup", ("SVM",), (row,))
    assert r"a & 70.00 $\pm$ 0.50 \\" in to_latex([table])


def test_latex_marks_are_escaped() -> None:
    assert latex_escape("50% of a_b & $x$ #1 {c} ~^\\ [d]") == (
        r"50\% of a\_b \& \$x\$ \#1 \{c\} \textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"{[}d{]}"
    )


def test_the_metafile_has_the_form_of_openmmlab(measured: list[Measured], zoo: Any) -> None:
    name = "sobel_resnet50_8xb64-steplr-200e"
    zoo.card(name, method="deepcluster", pretraining={"epochs": 200})
    document = yaml.safe_load(to_metafile(measured, collect(zoo.path).cards))
    assert [group["Name"] for group in document["Collections"]] == ["deepcluster", "Random"] or [
        group["Name"] for group in document["Collections"]
    ] == ["Random", "deepcluster"]
    models = {model["Name"]: model for model in document["Models"]}
    model = models[name]
    assert model["In Collection"] == "deepcluster"
    assert model["Metadata"]["Epochs"] == 200
    assert model["Config"].endswith("_in1k.py")
    results = {result["Dataset"].split(" ")[0]: result["Metrics"] for result in model["Results"]}
    assert results["VOC2007"]["k=1"] == 29.37
    assert results["ImageNet-1k"]["AvgPool"] == 46.92
    assert results["Places205"]["Feature4"] == 47.22
    assert models["random-sobel_resnet50"]["In Collection"] == "Random"


def test_the_model_index_has_the_form_of_model_cards(measured: list[Measured]) -> None:
    document = yaml.safe_load(to_model_index(measured))
    model = next(m for m in document["model-index"] if m["name"].startswith("sobel"))
    places = next(r for r in model["results"] if r["dataset"]["type"] == "places205-linear")
    assert places["task"] == {"type": "image-classification"}
    assert places["metrics"][3]["value"] == 47.22
    assert places["metrics"][3]["type"] == "accuracy"


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False),
    st.text(),
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abk= 1:-#", min_size=1), inner)
    ),
    max_leaves=12,
)


@given(documents)
def test_yaml_is_read_back_as_it_was(document: object) -> None:
    assert yaml.safe_load(to_yaml(document)) == document


def test_small_numbers_stay_numbers() -> None:
    """YAML 1.1 wants a point in a float: JSON's 1e-7 is text to PyYAML."""
    assert yaml.safe_load(to_yaml({"cost": 1e-7})) == {"cost": 1e-7}

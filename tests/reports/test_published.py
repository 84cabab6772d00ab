"""The published figures: validated, complete, each with its source."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.catalog.listed import PROTOCOLS
from reports.formats.exports import to_csv
from reports.formats.latex import to_latex
from reports.published import DATA, load, published_sections, published_tables, select
from reports.tables import best_values
from slurm.errors import UserError

TABLES = Path(__file__).with_name("data")


def test_only_the_deepcluster_row_prints_the_three_tables_byte_for_byte() -> None:
    text = published_sections(load(), ["sobel_resnet50_8xb64-steplr-200e"])
    for kind in ("voc-svm", "imagenet-linear", "places205-linear"):
        assert (TABLES / f"deepcluster-{kind}.md").read_text() in text + "\n"
    assert [line for line in text.split("\n") if line.startswith("#")] == [
        "#### VOC SVM / Low-shot SVM",
        "#### ImageNet Linear Evaluation",
        "#### Places205 Linear Evaluation",
    ]


def test_both_versions_of_the_disputed_cells_are_kept_with_their_sources() -> None:
    rows = [r for r in load().rows if r.method == "DeepCluster" and "voc-svm" in r.figures]
    cells = {row.source: [row.figures["voc-svm"][f"k={k}"] for k in (1, 2)] for row in rows}
    assert cells == {"openselfsup": [29.73, 37.66], "mmselfsup-0.11.0": [29.37, 37.99]}


# One figure of every row of the published tables, typed independently of the data file.
FIGURES = [
    ("Supervised", "openselfsup", "voc-svm", "SVM", 87.17),
    ("Random", "openselfsup", "imagenet-linear", "AvgPool", 4.35),
    ("Relative-Loc", "openselfsup", "voc-svm", "k=96", 58.33),
    ("Relative-Loc", "mmselfsup-0.11.0", "places205-linear", "Feature4", 45.97),
    ("Relative-Loc", "mmselfsup-zoo-0.11.0", "imagenet-linear", "AvgPool", 38.78),
    ("Rotation-Pred", "openselfsup", "imagenet-linear", "Feature2", 34.30),
    ("Rotation-Pred", "mmselfsup-zoo-0.5.0", "imagenet-linear", "AvgPool", 44.35),
    ("NPID", "mmselfsup-zoo-0.11.0", "imagenet-linear", "AvgPool", 58.97),
    ("ODC", "openselfsup", "places205-linear", "Feature5", 49.18),
    ("MoCo v1", "openselfsup", "voc-svm", "k=1", 30.03),
    ("MoCo v2", "mmselfsup-0.11.0", "voc-svm", "k=4", 65.34),
    ("SimCLR", "openselfsup", "places205-linear", "Feature1", 22.55),
    ("BYOL", "mmselfsup-0.11.0", "voc-svm", "SVM", 86.31),
    ("SwAV", "mmselfsup-0.11.0", "imagenet-linear", "Feature4", 65.98),
    ("SimSiam", "mmselfsup-0.11.0", "voc-svm", "SVM", 85.20),
    ("Barlow Twins", "mmselfsup-0.11.0", "imagenet-linear", "AvgPool", 71.66),
    ("DenseCL", "mmselfsup-0.11.0", "voc-svm", "SVM", 82.50),
    ("InterCLR", "mmselfsup-0.11.0", "voc-svm", "k=2", 59.25),
]


@pytest.mark.parametrize(("method", "source", "kind", "column", "value"), FIGURES)
def test_figures_of_every_method_are_there(
    method: str, source: str, kind: str, column: str, value: float
) -> None:
    found = [r for r in load().rows if r.method == method and r.source == source]
    assert value in [row.figures.get(kind, {}).get(column) for row in found]


STEP = "resnet50_linear-8xb32-steplr-100e_in1k"
LARS = "resnet50_linear-8xb512-coslr-90e_in1k"
COSINE = "resnet50_linear-8xb32-coslr-100e_in1k"
# What the documents say of their AvgPool figures, read one by one: MMSelfSup 0.11.0's pages of the
# methods; the remarks of its zoo pages (no remark: the setting of MoCo); OpenSelfSup's zoo page.
AVGPOOL = {
    "mmselfsup-0.11.0": {
        LARS: {"BYOL", "SimCLR", "SimSiam"},
        COSINE: {"SwAV"},
        STEP: {
            *("Relative-Loc", "Rotation-Pred", "DeepCluster", "NPID", "ODC", "MoCo v2"),
            *("Barlow Twins", "DenseCL"),
        },
    },
    "mmselfsup-zoo-0.11.0": {
        LARS: {"BYOL"},
        STEP: {"Relative-Loc", "NPID", "ODC", "DenseCL"},
        None: {"InterCLR"},
    },
    "mmselfsup-zoo-0.5.0": {
        LARS: {"SimSiam"},
        COSINE: {"SwAV"},
        STEP: {"Rotation-Pred", "NPID", "MoCo v2", "SimCLR", "BYOL"},
    },
    "openselfsup": {
        STEP: {
            *("Supervised", "Random", "Relative-Loc", "Rotation-Pred", "DeepCluster", "NPID"),
            *("ODC", "MoCo v1", "MoCo v2", "SimCLR"),
        },
    },
    "openselfsup-pull-46": {STEP: {"DeepCluster"}},
}


def test_each_avgpool_figure_names_the_protocol_that_its_page_names() -> None:
    found: dict[str, dict[str | None, set[str]]] = {}
    for row in load().rows:
        if "AvgPool" in row.figures.get("imagenet-linear", {}):
            protocol = row.protocols["imagenet_avgpool"]
            found.setdefault(row.source, {}).setdefault(protocol, set()).add(row.method)
    assert found == AVGPOOL


def test_every_published_figure_names_a_protocol_of_ours_or_none() -> None:
    published = load()
    nameless = []
    for table in published_tables(published, published.rows):
        for row in table.rows:
            for column, cell in row.cells.items():
                if cell.protocol is None:
                    nameless.append((row.prefix, column))
                else:
                    assert PROTOCOLS[cell.protocol].benchmark == table.kind.part(column)
                    assert PROTOCOLS[cell.protocol].variant == "mmselfsup"
    assert nameless == [("InterCLR", "AvgPool")]


def test_a_table_of_several_protocols_says_which_row_is_of_which() -> None:
    text = published_sections(load(), ["BYOL", "SwAV", "DeepCluster"])
    imagenet = text.split("#### ")[2]
    (refers,) = [line for line in imagenet.split("\n") if line.startswith("The **AvgPool**")]
    for name in (STEP, LARS, COSINE):
        assert f"[{name}](https://github.com/open-mmlab/mmselfsup/" in refers
    assert "which row is of which stands below" in refers
    notes = {line.split("`")[1]: line for line in imagenet.split("\n") if "**AvgPool** by" in line}
    assert notes.keys() == {STEP, LARS, COSINE}
    assert "BYOL resnet50_16xb256-coslr-200e" in notes[LARS]
    assert "BYOL byol_resnet50_8xb32-accum16-coslr-300e_in1k" in notes[LARS]
    assert "BYOL byol_resnet50_8xb32-accum16-coslr-200e_in1k" in notes[STEP]
    assert "DeepCluster sobel_resnet50_8xb64-steplr-200e" in notes[STEP]
    assert notes[COSINE].count("SwAV") == 2
    assert "by a protocol that is not named: InterCLR" in published_sections(load(), [])


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("resnet50_8xb32-accum16-coslr-200e", LARS),
        ("resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96", COSINE),
        ("sobel_resnet50_8xb64-steplr-200e", STEP),
    ],
)
def test_a_row_s_page_is_printed_as_the_zoo_has_it(name: str, protocol: str) -> None:
    """The sentences above the tables, which MMSelfSup 0.11.0's README pages hold word for word."""
    base = "https://github.com/open-mmlab/mmselfsup/blob/master/configs/benchmarks/classification/"
    text = published_sections(load(), [name])
    assert (
        "\nThe **AvgPool** result is obtained from Linear Evaluation with GlobalAveragePooling. "
        f"Please refer to [{protocol}]({base}imagenet/{protocol}.py) for details of config.\n"
    ) in text
    heads = "resnet50_mhead_linear-8xb32-steplr-90e_in1k"
    assert f"Please refer to [{heads}]({base}imagenet/{heads}.py) for details of config.\n" in text
    places = "resnet50_mhead_8xb32-steplr-28e_places205.py"
    assert f"Please refer to [{places}]({base}places205/{places}) for details of config.\n" in text
    assert "**AvgPool** by" not in text


def test_documents_that_call_a_protocol_otherwise_are_quoted() -> None:
    text = published_sections(load(), ["selfsup/deepcluster/r50.py"])
    assert f"`{STEP}` is linear_classification/imagenet/r50_last.py" in text
    assert "SimSiam paper setting" not in text


def test_the_best_of_a_column_is_among_figures_of_one_protocol() -> None:
    published = load()
    rows = select(published, ["BYOL", "SwAV"])
    (table,) = [t for t in published_tables(published, rows) if t.kind.key == "imagenet-linear"]
    assert "AvgPool" not in best_values(table)
    assert best_values(table)["Feature5"] == "72.35"
    alike = select(published, ["resnet50_8xb32-accum16-coslr-200e", "resnet50_16xb256-coslr-200e"])
    (table,) = [
        t
        for t in published_tables(published, [r for r in alike if r.method == "BYOL"])
        if t.kind.key == "imagenet-linear"
    ]
    assert best_values(table)["AvgPool"] == "71.88"


def test_latex_and_csv_say_the_protocol_of_each_figure() -> None:
    published = load()
    tables = published_tables(published, select(published, ["BYOL", "SwAV"]))
    text = to_latex(tables)
    assert r"& 71.85 & 71.88$^{a}$ \\" in text
    assert r"& 70.74 & 70.47$^{c}$ \\" in text
    assert r"{l}{$^{a}$ AvgPool by resnet50\_linear-8xb512-coslr-90e\_in1k} \\" in text
    assert r"{l}{$^{c}$ AvgPool by resnet50\_linear-8xb32-coslr-100e\_in1k} \\" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(tables))))
    found = {r["value"]: r["protocol"] for r in rows if r["column"] == "AvgPool" and r["value"]}
    assert found["71.88"] == LARS
    assert found["67.68"] == STEP
    assert found["70.55"] == COSINE


def test_the_full_listing_names_methods_sources_and_the_rest() -> None:
    published = load()
    text = published_sections(published, [])
    assert "| DeepCluster [sobel_resnet50_8xb64-steplr-200e](" in text
    assert "| Supervised torchvision " in text
    for row in published.rows:
        assert published.sources[row.source].url in text
    others = text.split("#### Other published figures")[1]
    assert others.count("\n| ") == len(published.others) + 2
    assert others.count("unverified") == sum(not item.verified for item in published.others) == 22
    assert "iNaturalist" not in text


def test_rows_are_chosen_by_name_or_method_and_unknown_ones_are_named() -> None:
    published = load()
    assert {row.method for row in select(published, ["DeepCluster", "ODC"])} == {
        "DeepCluster",
        "ODC",
    }
    with pytest.raises(UserError, match="did you mean DeepCluster"):
        select(published, ["DeepClustr"])


def damaged(tmp_path: Path, change: Any) -> Path:
    data = json.loads(DATA.read_bytes())
    change(data)
    path = tmp_path / "published.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["rows"].append(d["rows"][0]), "stands twice"),
        (lambda d: d["rows"][0].update(source="nobody"), "unknown sources"),
        (lambda d: d["rows"][0]["figures"].update({"cifar": {"SVM": 1.0}}), "wrong table"),
        (lambda d: d["rows"][0]["figures"]["voc-svm"].update({"SVM": 871.7}), "wrong table"),
        (lambda d: d["rows"][0]["figures"]["voc-svm"].update({"k=3": 1.0}), "wrong table"),
        (lambda d: d["rows"][0].pop("best_layer"), "needs a best layer"),
        (lambda d: d["rows"][0].update(notes={"cifar": "x"}), "a note on a table"),
        (lambda d: d["rows"][0]["protocols"].pop("imagenet_avgpool"), "needs a protocol, or null"),
        (lambda d: d["rows"][0]["protocols"].update(knn="knn"), "needs a protocol, or null"),
        (
            lambda d: d["rows"][0]["protocols"].update(imagenet_avgpool="voc07_svm"),
            "unknown protocol of imagenet_avgpool: voc07_svm",
        ),
        (lambda d: d["rows"][0].pop("protocols"), "missing required field `protocols`"),
        (lambda d: d["rows"][0].update(colour="red"), "not a valid Published"),
        (lambda d: d.update(schema=2), "has schema 2"),
    ],
)
def test_a_damaged_data_file_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(damaged(tmp_path, change))

"""The published figures: validated, complete, each with its source."""

import json
from pathlib import Path
from typing import Any

import pytest

from reports.published import DATA, load, published_sections, select
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
        (lambda d: d["rows"][0].update(colour="red"), "not a valid Published"),
        (lambda d: d.update(schema=2), "has schema 2"),
    ],
)
def test_a_damaged_data_file_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(damaged(tmp_path, change))

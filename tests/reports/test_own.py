"""Tables of a user's own data: apart from each other and from every published one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs, to_builtins

from benchmarks import results
from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.own import on_own_data
from benchmarks.catalog.records import read_record
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.results import LowShotLayer, LowShotRecord, Split
from reports.__main__ import main
from reports.collect import collect
from reports.measured import measured_tables
from tests.reports.conftest import Zoo, features

DATA = {"train": Split(18, 3, "e" * 64), "val": Split(9, 3, "f" * 64)}
HEADS = features([1.0, 2.0, 3.0, 4.0, 5.0])


def own(zoo: Zoo, name: str, data: str, **extra: Any) -> None:
    protocol = on_own_data(IMAGENET_LINEAR, data)
    zoo.probe(name, HEADS, protocol, data=DATA, key=data, **extra)


def test_each_data_set_has_its_own_table_after_the_published_kinds(
    zoo: Zoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own(zoo, "net", "birds")
    own(zoo, "net", "Bees-2")
    own(zoo, "other", "birds")
    zoo.probe("net", {"avgpool": 6.0}, on_own_data(IMAGENET_AVGPOOL, "birds"), data=DATA)
    zoo.probe("net", HEADS)
    made = measured_tables(collect(zoo.path))
    assert [(one.kind.title, [row.name for row in one.table.rows]) for one in made] == [
        ("ImageNet Linear Evaluation", ["net"]),
        ("Bees-2 Linear Evaluation", ["net"]),
        ("birds Linear Evaluation", ["net", "other"]),
    ]
    assert made[2].table.rows[0].cells["AvgPool"].value == 6.0
    assert {one.table.partial for one in made} == {""}
    assert len({one.kind.key for one in made}) == 3
    readme = tmp_path / "README.md"
    readme.write_text("<!-- reports:own -->\n<!-- /reports:own -->\n")
    main(["--zoo", str(zoo.path), "--readme", str(readme)])
    text = readme.read_text()
    assert text.count("####") == 2
    assert "#### Bees-2 Linear Evaluation\n" in text
    assert "ImageNet" not in text


def test_own_figures_are_held_against_no_published_one(
    zoo: Zoo, capsys: pytest.CaptureFixture[str]
) -> None:
    own(zoo, "sobel_resnet50_8xb64-steplr-200e", "birds")
    main(["--zoo", str(zoo.path), "--compare"])
    out = capsys.readouterr().out
    assert "#### birds Linear Evaluation: measured and published\n" in out
    assert "| measured: sobel_resnet50_8xb64-steplr-200e | " in out
    assert "- Not compared: no figures of birds Linear Evaluation are published.\n" in out
    assert out.count("Not compared") == 1
    assert "\n| published, " not in out
    assert "\n| difference" not in out


def test_what_was_changed_does_not_name_the_data(zoo: Zoo) -> None:
    from reports.footnotes import footnotes

    protocol = on_own_data(replace(IMAGENET_LINEAR, epochs=1, variant="custom"), "birds")
    zoo.probe("net", HEADS, protocol, data=DATA)
    (made,) = measured_tables(collect(zoo.path))
    assert "; epochs 1 instead of 90; 1 epoch, top-1" in footnotes(made)[0]


def test_a_name_that_markdown_would_read_is_escaped(
    zoo: Zoo, capsys: pytest.CaptureFixture[str]
) -> None:
    own(zoo, "net", "birds_")
    main(["--zoo", str(zoo.path)])
    assert "#### birds\\_ Linear Evaluation\n" in capsys.readouterr().out


def test_a_readme_of_own_tables_alone_names_its_data(
    zoo: Zoo, capsys: pytest.CaptureFixture[str]
) -> None:
    own(zoo, "net", "birds_")
    own(zoo, "net", "bees")
    main(["--zoo", str(zoo.path)])
    out = capsys.readouterr().out
    assert "The results are on data of the user's own: **bees**, **birds\\_**. If not" in out
    assert "downstream" not in out
    zoo.probe("net", HEADS)
    main(["--zoo", str(zoo.path)])
    assert "includes 4 downstream task datasets, **VOC**" in capsys.readouterr().out


def few_shots(zoo: Zoo, name: str, *ks: str) -> None:
    """A low-shot record on birds of these k alone."""
    protocol = on_own_data(VOC07_LOW_SHOT, "birds")
    path = zoo.low_shot(
        name, {"feature5": [10.0] * 8}, settings=to_builtins(protocol), benchmark="own_low_shot_svm"
    )
    record = read_record(path)
    assert isinstance(record, LowShotRecord)
    shots = {k: record.layers["feature5"].shots[k] for k in ks}
    layers = {"feature5": LowShotLayer(shots)}
    results.write(path, structs.replace(record, layers=layers))


def test_own_low_shot_tables_have_the_columns_that_were_measured(
    zoo: Zoo, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = to_builtins(on_own_data(VOC07_SVM, "birds"))
    zoo.svm("net", {"feature5": 70.0}, settings=settings, benchmark="own_svm")
    main(["--zoo", str(zoo.path)])
    out = capsys.readouterr().out
    assert "| Self-Supervised Config | Best Layer | SVM   |\n" in out
    assert "hyper-parameter" not in out
    few_shots(zoo, "net", "2")
    main(["--zoo", str(zoo.path)])
    out = capsys.readouterr().out
    assert "| net                    | feature5   | 70.00 | 10.00 |\n" in out
    assert "Besides, k=2 indicates the hyper-parameter of Low-shot SVM.\n" in out
    few_shots(zoo, "other", "1", "2", "4")
    main(["--zoo", str(zoo.path)])
    out = capsys.readouterr().out
    assert "| net                    | feature5   | 70.00 | -     | 10.00 | -     |\n" in out
    assert "Besides, k=1 to 4 indicates" in out

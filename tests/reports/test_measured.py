"""From records to tables: what stands side by side, and what never does."""

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
from benchmarks.catalog.imagenet_linear import (
    DIGITS_IMAGENET_LINEAR,
    IMAGENET_LINEAR,
    VISSL_IMAGENET_LINEAR,
)
from benchmarks.catalog.inaturalist18_linear import INATURALIST18_LINEAR
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.protocols import ADDED
from benchmarks.results import ProbeRecord, Split
from reports.collect import collect
from reports.differing import own_values
from reports.document import measured_section
from reports.footnotes import footnotes
from reports.measured import Measured, measured_tables
from reports.tables import markdown

DATA = Path(__file__).with_name("data")
HEADS = {f"feature{stage}": 10.0 * stage for stage in range(1, 6)}
IMAGES = {"train": Split(1281167, 1000, "c" * 64), "val": Split(50000, 1000, "d" * 64)}


def tables(zoo: Any, **options: Any) -> list[Measured]:
    return measured_tables(collect(zoo.path), **options)


def texts(table: Measured) -> dict[str, list[str]]:
    """The printed cells by row."""
    rows = markdown(table.table).split("\n")[2:]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    return {row[0]: row[1:] for row in cells}


def test_records_of_the_published_figures_give_the_published_tables(zoo: Any) -> None:
    zoo.deepcluster()
    made = {table.kind.key: markdown(table.table) + "\n" for table in tables(zoo)}
    assert made.keys() == {"voc-svm", "imagenet-linear", "places205-linear"}
    for kind, text in made.items():
        assert text == (DATA / f"deepcluster-{kind}.md").read_text()


def test_they_refer_to_protocols_as_the_published_page_does(zoo: Any) -> None:
    zoo.deepcluster()
    texts = [measured_section(table) for table in tables(zoo)]
    configs = (
        "https://github.com/open-mmlab/mmselfsup/blob/master/configs/benchmarks/classification"
    )
    for called, path in {
        "resnet50_mhead_linear-8xb32-steplr-90e_in1k": "imagenet/resnet50_mhead_linear-8xb32-steplr"
        "-90e_in1k.py",
        "resnet50_linear-8xb32-steplr-100e_in1k": "imagenet/resnet50_linear-8xb32-steplr-100e_in1k"
        ".py",
        "resnet50_mhead_8xb32-steplr-28e_places205.py": "places205/resnet50_mhead_8xb32-steplr-28e_"
        "places205.py",
    }.items():
        said = f"Please refer to [{called}]({configs}/{path}) for details of config.\n"
        assert sum(said in text for text in texts) == 1


def test_inaturalist_has_the_same_form(zoo: Any) -> None:
    zoo.probe("net", HEADS, INATURALIST18_LINEAR)
    (table,) = tables(zoo)
    assert table.kind.title == "iNaturalist2018 Linear Evaluation"
    assert texts(table) == {"net": ["10.00", "20.00", "30.00", "40.00", "50.00"]}


def test_a_row_with_one_part_has_dashes_in_the_other(zoo: Any) -> None:
    zoo.probe("a", HEADS)
    zoo.probe("b", {"avgpool": 46.92}, IMAGENET_AVGPOOL)
    (table,) = tables(zoo)
    assert texts(table) == {
        "a": ["10.00", "20.00", "30.00", "40.00", "50.00", "-"],
        "b": ["-", "-", "-", "-", "-", "46.92"],
    }


def test_the_low_shot_figures_are_of_the_best_svm_layer(zoo: Any) -> None:
    zoo.svm("net", {"feature4": 70.0, "feature5": 60.0})
    zoo.low_shot("net", {"feature4": [10.0] * 8, "feature5": [90.0] * 8})
    (table,) = tables(zoo)
    assert texts(table)["net"] == ["feature4", "70.00", *["10.00"] * 8]


def test_without_an_svm_the_best_low_shot_layer_is_taken_and_said_so(zoo: Any) -> None:
    zoo.low_shot("net", {"feature4": [50.0] * 7 + [60.0], "feature5": [10.0] * 7 + [61.0]})
    (table,) = tables(zoo)
    assert texts(table)["net"] == ["feature5", "-", *["10.00"] * 7, "61.00"]
    assert any("without an SVM" in note for note in footnotes(table))


def test_a_best_layer_that_low_shot_lacks_leaves_dashes(zoo: Any) -> None:
    zoo.svm("net", {"feature4": 70.0})
    zoo.low_shot("net", {"feature5": [10.0] * 8})
    (table,) = tables(zoo)
    assert texts(table)["net"] == ["feature4", "70.00", *["-"] * 8]


def test_variants_never_share_a_table(zoo: Any) -> None:
    for protocol in (IMAGENET_LINEAR, VISSL_IMAGENET_LINEAR, DIGITS_IMAGENET_LINEAR):
        zoo.probe("net", HEADS, protocol)
    made = tables(zoo)
    assert [table.variant for table in made] == ["mmselfsup", "vissl", "digits"]
    assert all(len(table.table.rows) == 1 for table in made)


@pytest.mark.parametrize(
    ("changes", "words", "fact"),
    [
        (
            {"protocol_version": 2},
            "version of the protocol of Feature1 - Feature5",
            "Feature1 - Feature5 by version 1 of it instead of 2",
        ),
        (
            {"protocol": replace(IMAGENET_LINEAR, name="another")},
            "protocol of Feature1 - Feature5",
            f"Feature1 - Feature5 by `another` instead of `{IMAGENET_LINEAR.name}`",
        ),
        (
            {"settings": to_builtins(IMAGENET_LINEAR) | {"epochs": 5}},
            "epochs of Feature1 - Feature5",
            "Feature1 - Feature5 with epochs 5 instead of 90",
        ),
        (
            {
                "settings": to_builtins(
                    replace(IMAGENET_LINEAR, test=replace(IMAGENET_LINEAR.test, resize=300))
                )
            },
            "test.resize of Feature1 - Feature5",
            "Feature1 - Feature5 with test.resize 300 instead of 256",
        ),
        (
            {"settings": {"epochs": 90}},
            "36 settings of Feature1 - Feature5",
            "learning_rate (not recorded) instead of 0.01",
        ),
        (
            {"data": {"train": Split(10, 2, "e" * 64), "val": Split(4, 2, "f" * 64)}},
            "data",
            "10 train images of 2 classes instead of 1,281,167 of 1000; 4 val images of 2 classes "
            "instead of 50,000 of 1000",
        ),
        (
            {"data": IMAGES | {"val": Split(50000, 1000, "f" * 64)}},
            "data",
            "another list of val images",
        ),
        (
            {"data": IMAGES | {"val": structs.replace(IMAGES["val"], sizes="1234")}},
            "data",
            "the same list of val images; one record is of an earlier build and does not tell the "
            "files apart.",
        ),
    ],
)
def test_what_was_measured_otherwise_makes_its_own_table_and_says_how(
    zoo: Any, changes: dict, words: str, fact: str
) -> None:
    zoo.probe("a", HEADS)
    zoo.probe("b", HEADS, **changes)
    made = tables(zoo)
    assert [table.table.number for table in made] == ["1 of 2", "2 of 2"]
    for number, table in enumerate(made, 1):
        section = measured_section(table)
        assert f"{number} of 2, measured otherwise: {words})\n" in section
        assert f"- **Measured otherwise** than {3 - number} of 2: " in section
    assert any(fact in measured_section(table) for table in made)
    assert [[row.name for row in table.table.rows] for table in made] in (
        [["a"], ["b"]],
        [["b"], ["a"]],
    )


def test_figures_of_the_three_avgpool_protocols_never_share_a_column(zoo: Any) -> None:
    protocols = (IMAGENET_AVGPOOL_LARS, IMAGENET_AVGPOOL_COSINE, IMAGENET_AVGPOOL)
    zoo.probe("net", HEADS)
    for top1, protocol in enumerate(protocols, 60):
        zoo.probe("net", {"avgpool": float(top1)}, protocol)
    made = tables(zoo)
    assert [texts(table)["net"][4:] for table in made] == [
        ["50.00", "62.00"],  # the suite's own protocol stands beside the other features
        ["-", "60.00"],
        ["-", "61.00"],
    ]
    for number, (table, place) in enumerate(zip(made, (2, 0, 1)), 1):
        protocol = protocols[place]
        section = measured_section(table)
        assert f"({number} of 3, measured otherwise: protocol of AvgPool)" in section
        assert section.count("**Measured otherwise** than") == (2 if number == 1 else 1)
        assert f"Please refer to [{protocol.name}](https" in section
    assert "90 epochs, evaluated every 10, top-1 (%) of the last one" in footnotes(made[1])[0]


def test_the_best_epoch_has_a_column_when_it_is_asked_for(zoo: Any) -> None:
    zoo.probe("net", {"avgpool": 46.0}, IMAGENET_AVGPOOL)
    zoo.probe("net", {"avgpool": 48.0}, IMAGENET_AVGPOOL, seed=1)
    zoo.probe("net", HEADS, DIGITS_IMAGENET_LINEAR)
    plain, digits = tables(zoo)
    assert plain.table.columns[-1] == "AvgPool"
    assert "best)" not in measured_section(plain)
    record = plain.found["imagenet_avgpool"][0].record
    assert isinstance(record, ProbeRecord)
    assert record.heads["avgpool"].best_top1 == 47.0
    best, digits = tables(zoo, best=True)
    assert best.table.columns[-2:] == ("AvgPool", "AvgPool (best)")
    assert texts(best)["net"][-2:] == ["46.00", "47.00"]
    assert "**AvgPool (best)**: top-1 (%) of the best of the evaluated epochs" in (
        measured_section(best)
    )
    assert digits.table.columns[-1] == "AvgPool"  # which was not measured
    seeds, _ = tables(zoo, best=True, seeds=True)
    assert texts(seeds)["net"][-2:] == ["47.00 ± 1.41", "48.00 ± 1.41"]


def test_records_from_before_a_field_came_share_a_table_with_new_ones(zoo: Any) -> None:
    settings = {k: v for k, v in to_builtins(IMAGENET_LINEAR).items() if k not in ADDED}
    assert len(settings) < len(to_builtins(IMAGENET_LINEAR))
    zoo.probe("old", HEADS, settings=settings)
    zoo.probe("new", HEADS)
    zoo.probe("other", HEADS, replace(IMAGENET_LINEAR, evaluate_every=2))
    assert [[row.name for row in table.table.rows] for table in tables(zoo)] in (
        [["new", "old"], ["other"]],
        [["other"], ["new", "old"]],
    )


def test_settings_of_one_run_do_not_split_a_table(zoo: Any) -> None:
    zoo.probe("a", HEADS, settings={"epochs": 90, "workers": 4})
    zoo.probe("b", HEADS, settings={"epochs": 90, "workers": 8})
    assert len(tables(zoo)) == 1


def test_several_seeds_show_the_lowest_or_mean_and_spread(zoo: Any) -> None:
    for seed, top1 in ((2, 52.0), (1, 50.0), (3, 54.0)):
        zoo.probe("net", {"feature5": top1}, seed=seed)
    (plain,) = tables(zoo)
    assert texts(plain)["net"][4] == "50.00"
    assert "seed 1 (2 more in the zoo)" in footnotes(plain)[0]
    (mean,) = tables(zoo, seeds=True)
    assert texts(mean)["net"][4] == "52.00 ± 2.00"
    note = footnotes(mean, seeds=True)[0]
    assert "mean ± sample standard deviation over seeds 1, 2, 3" in note
    cell = mean.table.rows[0].cells["Feature5"]
    assert cell.seeds == (1, 2, 3)
    assert len(cell.records) == 3


def test_with_seeds_the_best_layer_is_that_of_the_mean(zoo: Any) -> None:
    zoo.svm("net", {"feature4": 70.0, "feature5": 60.0}, seed=0)
    zoo.svm("net", {"feature4": 60.0, "feature5": 80.0}, seed=1)
    assert texts(tables(zoo)[0])["net"][:2] == ["feature4", "70.00"]
    assert texts(tables(zoo, seeds=True)[0])["net"][:2] == ["feature5", "70.00 ± 14.14"]


def test_the_link_is_the_card_s_before_the_record_s(zoo: Any) -> None:
    zoo.with_(config="https://old").probe("net", HEADS)
    assert tables(zoo)[0].table.rows[0].link == "https://old"
    zoo.card("net", config="https://new")
    assert tables(zoo)[0].table.rows[0].link == "https://new"


def test_footnotes_say_how_a_table_was_measured(zoo: Any) -> None:
    zoo.deepcluster()
    notes = {table.kind.key: footnotes(table) for table in tables(zoo)}
    svm, low_shot, software = notes["voc-svm"]
    assert "protocol `voc07_svm`, variant `mmselfsup`, version 1" in svm
    assert "3-fold cross-validation" in svm
    assert "n = 5,011 trainval, 4,952 test images of 20 classes; seed 0" in svm
    assert "5 draws" in low_shot
    assert "cost with the best mean on the test set" in low_shot
    assert software == (
        "**Software**: deepcluster-bench 0.1.0, python 3.11.7, torch 2.6.0; commit `0123abc`."
    )
    heads, avgpool, _ = notes["imagenet-linear"]
    assert "90 epochs, top-1 (%) of the last one" in heads
    assert "100 epochs" in avgpool
    assert "the published AvgPool figures are of the best one" in avgpool


def test_notes_of_records_and_cards_reach_the_reader(zoo: Any) -> None:
    zoo.probe("net", HEADS, notes=("fell back to float64",))
    zoo.card("net", notes=("no Sobel keys: 2 channels",))
    (table,) = tables(zoo)
    assert footnotes(table)[-2:] == (
        "Note on net: no Sobel keys: 2 channels",
        "Note on net: fell back to float64",
    )


def test_versions_and_commits_that_differ_are_all_named(zoo: Any) -> None:
    zoo.probe("a", HEADS, versions={"torch": "2.6.0"}, commit="1")
    zoo.probe("b", HEADS, versions={"torch": "2.7.0"}, commit=None)
    (table,) = tables(zoo)
    assert footnotes(table)[-1] == "**Software**: torch 2.6.0 and 2.7.0; commit `1`, `none`."


def test_another_selection_of_the_cost_is_named(zoo: Any) -> None:
    zoo.low_shot("net", {"feature5": [10.0] * 8}, selection="validation")
    assert "cost selected by validation" in footnotes(tables(zoo)[0])[0]


def test_more_shots_make_more_columns(zoo: Any) -> None:
    zoo.svm("net", {"feature5": 70.0})
    path = zoo.low_shot("net", {"feature5": [10.0] * 8})
    path.write_text(path.read_text().replace('"96": {', '"128": {'))
    (table,) = tables(zoo)
    assert table.table.columns[-3:] == ("k=64", "k=96", "k=128")
    assert texts(table)["net"][-2:] == ["-", "10.00"]


def test_svm_and_low_shot_on_other_data_do_not_share_a_row(zoo: Any) -> None:
    zoo.svm("net", {"feature5": 70.0})
    other = {"trainval": Split(10, 20, "0" * 64), "test": Split(10, 20, "1" * 64)}
    zoo.low_shot("net", {"feature5": [10.0] * 8}, data=other)
    assert len(tables(zoo)) == 2


def test_a_protocol_with_other_numbers_under_the_same_name_is_kept_apart(zoo: Any) -> None:
    zoo.probe("a", HEADS)
    zoo.probe("b", HEADS, replace(IMAGENET_LINEAR, weight_decay=0.0))
    assert len(tables(zoo)) == 2


def test_tables_that_differ_in_what_the_first_has_not_say_it_of_each_other(zoo: Any) -> None:
    """Both differ from the first in the protocol, and from each other in a number of it."""
    zoo.probe("a", {"avgpool": 1.0}, replace(IMAGENET_AVGPOOL, variant="custom"))
    for name, epochs in (("b", 2), ("c", 3)):
        other = replace(IMAGENET_AVGPOOL_COSINE, epochs=epochs, variant="custom")
        zoo.probe(name, {"avgpool": 2.0}, other)
    sections = [measured_section(table) for table in tables(zoo)]
    for section, other in zip(sections[1:], (3, 2)):
        assert "measured otherwise: protocol of AvgPool, epochs of AvgPool)" in section
        assert f"- **Measured otherwise** than {other} of 3: AvgPool with epochs" in section


def test_a_heading_names_each_setting_once(zoo: Any) -> None:
    changes = ({}, {"epochs": 2}, {"epochs": 3, "gamma": 0.2}, {"gamma": 0.3})
    for number, change in enumerate(changes):
        zoo.probe(f"net{number}", HEADS, replace(IMAGENET_LINEAR, **change, variant="custom"))
    first = measured_section(tables(zoo)[0])
    assert "(variant `custom`, 1 of 4, measured otherwise: epochs, gamma of Feature1 -" in first


def test_changed_numbers_have_tables_and_footnotes_of_their_own(zoo: Any) -> None:
    zoo.probe("net", {"feature1": 10.0})
    custom = replace(IMAGENET_LINEAR, epochs=1, learning_rate=0.03, variant="custom")
    zoo.probe("other", {"feature1": 20.0}, custom)
    first, second = measured_tables(collect(zoo.path))
    assert [one.variant for one in (first, second)] == ["mmselfsup", "custom"]
    assert str(second.table.rows[0].cells["Feature1"]) == "20.00"
    (line,) = [note for note in footnotes(second) if note.startswith("**Feature1 - Feature5**")]
    assert "; epochs 1 instead of 90, learning_rate 0.03 instead of 0.01; " in line
    assert not any("instead of" in note for note in footnotes(first))


GRAM = {"solver": "gram"}


def test_what_no_seed_decides_has_no_spread(zoo: Any) -> None:
    """The exact SVMs have one solution, whatever the seed; draws and random trunks have not."""
    for seed in (0, 1):
        zoo.svm("net", {"feature5": 70.0}, seed=seed, settings=GRAM)
        drawn = GRAM | {"draws": {"1": f"seed {seed}"}}
        zoo.low_shot("net", {"feature5": [50.0] * 8}, seed=seed, settings=drawn)
    (table,) = tables(zoo, seeds=True)
    assert texts(table)["net"][1:3] == ["70.00", "50.00 ± 0.00"]
    svm, low_shot, *_ = footnotes(table, seeds=True)
    assert "seeds 0, 1, on which it does not depend." in svm
    assert "mean ± sample standard deviation over seeds 0, 1." in low_shot


@pytest.mark.parametrize(
    ("settings", "weights", "shown"),
    [
        ({"draws": {"1": "official:0123"}, **GRAM}, "blake2b:1", "50.00"),
        ({"draws": {"1": "seed 0"}, **GRAM}, "blake2b:1", "50.00 ± 0.00"),
        ({"draws": {"1": "official:0123"}, "solver": "liblinear"}, "blake2b:1", "50.00 ± 0.00"),
        ({"draws": {"1": "official:0123"}, **GRAM}, "random:resnet50:rgb:0", "50.00 ± 0.00"),
    ],
)
def test_spread_stands_where_a_seed_can_matter(
    zoo: Any, settings: dict[str, Any], weights: str, shown: str
) -> None:
    for seed in (0, 1):
        made = zoo.with_(weights=weights)
        made.low_shot("net", {"feature5": [50.0] * 8}, seed=seed, settings=settings)
    assert texts(tables(zoo, seeds=True)[0])["net"][2] == shown


def test_other_files_of_the_same_names_are_said_where_both_records_know(zoo: Any) -> None:
    for name, sizes in (("a", "1234"), ("b", "5678")):
        data = IMAGES | {"val": structs.replace(IMAGES["val"], sizes=sizes)}
        zoo.probe(name, HEADS, data=data)
    one, other = tables(zoo)
    fact = "val images of the same names but other files"
    assert any(fact in note for note in footnotes(one))
    assert own_values(one, "imagenet_linear") + own_values(other, "imagenet_linear") == [
        f"50,000 val images of 1000 classes, files (hash of sizes {sizes})"
        for sizes in ("1234", "5678")
    ]


def test_other_files_are_said_of_two_tables_behind_one_of_an_earlier_build(zoo: Any) -> None:
    """The first table is held against all others, and they are told apart by its files alone."""
    for name, sizes in (("a", "2222"), ("b", ""), ("c", "3333")):
        data = {key: structs.replace(split, sizes=sizes) for key, split in IMAGES.items()}
        zoo.probe(name, HEADS, data=data)
    made = tables(zoo)
    assert [row.name for row in made[0].table.rows] == ["b"]
    apart = "; ".join(f"{key} images of the same names but other files" for key in IMAGES)
    earlier = (
        "the same list of train and val images; one record is of an earlier build and does not "
        "tell the files apart"
    )
    said = [
        [note for note in footnotes(one) if note.startswith("**Measured otherwise**")]
        for one in made
    ]
    facts = (((2, earlier), (3, earlier)), ((1, earlier), (3, apart)), ((1, earlier), (2, apart)))
    assert said == [
        [f"**Measured otherwise** than {number} of 3: {fact}." for number, fact in of]
        for of in facts
    ]


def test_seeds_are_those_of_the_figures_by_column(zoo: Any) -> None:
    """Seed 0 has all; seed 2 few k; seed 1 the other layer alone, which is not the best."""
    gram = {
        "precision": "fp32",
        "settings": to_builtins(VOC07_LOW_SHOT) | {"solver": "gram"},
    }
    few = {"feature4": [20.0] * 8, "feature5": [30.0, *[50.0] * 7]}
    for seed in (0, 1, 2):
        zoo.svm("a", {"feature4": 70.0 + seed, "feature5": 74.0 + seed}, seed=seed)
    zoo.low_shot("a", few, **gram)
    zoo.low_shot("a", {"feature4": [21.0] * 8}, seed=1, **gram)
    zoo.low_shot("a", {layer: means[:2] for layer, means in few.items()}, seed=2, **gram)
    (table,) = measured_tables(collect(zoo.path), seeds=True)
    row = table.table.rows[0]
    assert [row.cells[name].seeds for name in ("SVM", "k=1", "k=2", "k=4")] == [
        (0, 1, 2),
        (0, 2),
        (0, 2),
        (0,),
    ]
    svm, low_shot, *others = footnotes(table, seeds=True)
    assert svm.endswith("over seeds 0, 1, 2.")
    rest = "k=4, k=8, k=16, k=32, k=64, k=96"
    assert low_shot.endswith(f"deviation over seeds 0, 2 (a k=1, k=2) and seed 0 (a {rest}).")
    assert "a: feature4 by every seed, feature5 by some;" in low_shot
    assert not any("elsewhere" in note for note in others)


def test_a_row_without_low_shot_figures_says_on_which_layers_any_seed_has_them(zoo: Any) -> None:
    for seed, layer in enumerate(("feature1", "feature3")):
        zoo.svm("a", {"feature1": 60.0, "feature3": 65.0, "feature5": 74.0}, seed=seed)
        zoo.low_shot("a", {layer: [20.0] * 8}, seed=seed)
    (table,) = measured_tables(collect(zoo.path), seeds=True)
    text = "\n".join(footnotes(table, seeds=True))
    assert "a was measured on feature1, feature3 alone, not on its best layer feature5" in text
    assert "a: no layer by every seed, feature1, feature3 by some" in text

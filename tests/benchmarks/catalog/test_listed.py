"""The list of benchmarks: what it holds, and that what is incomplete is refused at once."""

from dataclasses import fields, replace
from typing import Any

import pytest

from benchmarks.catalog.benchmark import Benchmark, ZooTable
from benchmarks.catalog.imagenet_avgpool import BENCHMARK as AVGPOOL
from benchmarks.catalog.imagenet_linear import BENCHMARK as LINEAR
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.listed import BENCHMARKS, LISTED, PROTOCOLS, all_protocols, by_name
from benchmarks.catalog.places205_linear import BENCHMARK as PLACES
from benchmarks.catalog.voc07_svm import BENCHMARK as SVM
from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.splits import DatasetEntry
from benchmarks.protocols import VARIANTS
from benchmarks.suite import MODEL_ZOO, SUITES
from reports.tables import KINDS, PART_NAMES, own_kinds


def test_every_benchmark_is_on_a_dataset_and_in_a_table() -> None:
    for one in BENCHMARKS.values():
        assert one.dataset in DATASETS
        kinds = {kind.key: kind for kind in own_kinds("x")} | KINDS
        kind = kinds[one.table.key.replace("own-", "own-x-")]
        assert one.name in kind.parts
        assert kind.columns_of(one.name) == one.columns
        assert all(kind.part(column) == one.name for column in one.columns)
        assert PART_NAMES[one.name]


def test_the_tables_are_those_of_the_published_zoos() -> None:
    shots = tuple(f"k={k}" for k in (1, 2, 4, 8, 16, 32, 64, 96))
    features = tuple(f"Feature{stage}" for stage in range(1, 6))
    assert {key: kind.columns for key, kind in KINDS.items()} == {
        "voc-svm": ("Best Layer", "SVM", *shots),
        "imagenet-linear": (*features, "AvgPool"),
        "places205-linear": features,
        "inaturalist18-linear": features,
        "imagenet-knn": ("k=10", "k=20", "k=100", "k=200"),
        "imagenet-logreg": ("LogReg", "1-shot", "2-shot", "5-shot", "10-shot", "1%", "10%"),
        "imagenet-attentive": ("EP1", "EP32"),
        "imagenet-blocks": ("Block1",),
    }
    assert KINDS["voc-svm"].part("k=3") == "voc07_low_shot_svm"


def test_protocols_come_variant_after_variant() -> None:
    variants = [protocol.variant for protocol in PROTOCOLS.values()]
    assert list(dict.fromkeys(variants)) == list(VARIANTS)
    assert variants == sorted(variants, key=VARIANTS.index)
    assert len(PROTOCOLS) == sum(len(one.protocols) for one in LISTED)


def test_a_benchmark_alone_is_a_suite_of_its_default_variant() -> None:
    assert [protocol.name for protocol in SUITES["places205_linear"]] == [
        "resnet50_mhead_8xb32-steplr-28e_places205"
    ]
    assert set(MODEL_ZOO) <= BENCHMARKS.keys()


@pytest.mark.parametrize("kind", [Benchmark, DatasetEntry])
def test_no_field_can_be_forgotten(kind: Any) -> None:
    made = {"name": "x"}
    for field in fields(kind)[1:]:
        with pytest.raises(TypeError, match=field.name):
            kind(**made)
        made[field.name] = "x"
    kind(**made)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (LINEAR, "two benchmarks are called imagenet_linear"),
        (replace(PLACES, dataset="places365"), "is on places365, which is not listed"),
        (replace(PLACES, protocols=()), "has no protocol"),
        (replace(PLACES, columns=()), "or no column"),
        (replace(PLACES, dataset="imagenet"), "its benchmark is places205_linear on imagenet"),
        (replace(PLACES, name="other"), "is of places205_linear on places205"),
        (replace(PLACES, figures=None), "does not say what stands in its columns"),
        (replace(SVM, figures=dict), "does not say what stands in its columns"),
        (replace(PLACES, table=LINEAR.table), "do not agree on the table imagenet-linear"),
        (
            replace(AVGPOOL, table=ZooTable(LINEAR.table.key, "Another title")),
            "do not agree on the table imagenet-linear",
        ),
        (
            replace(PLACES, protocols=(replace(PLACES.protocols[0], variant="custom"),)),
            "is of no variant",
        ),
    ],
)
def test_what_is_incomplete_is_refused_when_the_program_starts(
    wrong: Benchmark, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        by_name((LINEAR, wrong))


def test_two_protocols_of_one_name_are_refused() -> None:
    twin = replace(AVGPOOL, protocols=(replace(IMAGENET_LINEAR, benchmark="imagenet_avgpool"),))
    with pytest.raises(ValueError, match=f"two protocols are called {IMAGENET_LINEAR.name}"):
        all_protocols((LINEAR, twin))

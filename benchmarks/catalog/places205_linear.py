"""Places205 linear classification on feature1..feature5."""

from dataclasses import replace

from benchmarks.catalog.benchmark import Benchmark, ZooTable, probe_item
from benchmarks.catalog.columns import FEATURE_COLUMNS, top1_by_column
from benchmarks.catalog.imagenet_linear import (
    DIGITS_IMAGENET_LINEAR,
    IMAGENET_LINEAR,
    VISSL_IMAGENET_LINEAR,
)
from benchmarks.catalog.images import RANDOM_CROP
from benchmarks.results import ProbeRecord

PLACES205_LINEAR = replace(
    IMAGENET_LINEAR,
    name="resnet50_mhead_8xb32-steplr-28e_places205",
    benchmark="places205_linear",
    dataset="places205",
    train=RANDOM_CROP,
    epochs=28,
    milestones=(7, 14, 21),
)
VISSL_PLACES205_LINEAR = replace(
    VISSL_IMAGENET_LINEAR,
    name="vissl_mhead_linear-14e_places205",
    benchmark="places205_linear",
    dataset="places205",
    epochs=14,
    milestones=(4, 8, 12),
)
DIGITS_PLACES205_LINEAR = replace(
    DIGITS_IMAGENET_LINEAR,
    name="digits_mhead_linear-2e_places205",
    benchmark="places205_linear",
    dataset="places205",
)

BENCHMARK = Benchmark(
    name="places205_linear",
    dataset="places205",
    protocols=(PLACES205_LINEAR, VISSL_PLACES205_LINEAR, DIGITS_PLACES205_LINEAR),
    item=probe_item,
    record=ProbeRecord,
    table=ZooTable("places205-linear", "Places205 Linear Evaluation"),
    columns=FEATURE_COLUMNS,
    figures=top1_by_column,
    part="Feature1 - Feature5",
)

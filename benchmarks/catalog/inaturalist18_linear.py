"""iNaturalist 2018 linear classification on feature1..feature5."""

from dataclasses import replace

from benchmarks.catalog.benchmark import Benchmark, ZooTable, probe_item
from benchmarks.catalog.columns import FEATURE_COLUMNS, top1_by_column
from benchmarks.catalog.imagenet_linear import (
    DIGITS_IMAGENET_LINEAR,
    IMAGENET_LINEAR,
    VISSL_IMAGENET_LINEAR,
)
from benchmarks.catalog.images import RANDOM_RESIZED_CROP
from benchmarks.results import ProbeRecord

INATURALIST18_LINEAR = replace(
    IMAGENET_LINEAR,
    name="resnet50_mhead_8xb32-steplr-84e_inat18",
    benchmark="inaturalist18_linear",
    dataset="inaturalist18",
    train=RANDOM_RESIZED_CROP,
    epochs=84,
    milestones=(24, 48, 72),
)
VISSL_INATURALIST18_LINEAR = replace(
    VISSL_IMAGENET_LINEAR,
    name="vissl_mhead_linear-84e_inat18",
    benchmark="inaturalist18_linear",
    dataset="inaturalist18",
    epochs=84,
    milestones=(24, 48, 72),
)
DIGITS_INATURALIST18_LINEAR = replace(
    DIGITS_IMAGENET_LINEAR,
    name="digits_mhead_linear-2e_inat18",
    benchmark="inaturalist18_linear",
    dataset="inaturalist18",
)

BENCHMARK = Benchmark(
    name="inaturalist18_linear",
    dataset="inaturalist18",
    protocols=(INATURALIST18_LINEAR, VISSL_INATURALIST18_LINEAR, DIGITS_INATURALIST18_LINEAR),
    item=probe_item,
    record=ProbeRecord,
    table=ZooTable("inaturalist18-linear", "iNaturalist2018 Linear Evaluation"),
    columns=FEATURE_COLUMNS,
    figures=top1_by_column,
    part="Feature1 - Feature5",
)

"""VOC07 low-shot SVM: the columns k=1 to k=96 of the SVM's table."""

from benchmarks.catalog.benchmark import Benchmark, low_shot_item
from benchmarks.catalog.images import SCENE, SQUASHED
from benchmarks.catalog.voc07_svm import (
    COSTS_DIGITS,
    COSTS_FAIR,
    COSTS_MMSELFSUP,
    COSTS_VISSL,
    TABLE,
)
from benchmarks.protocols import LowShotProtocol
from benchmarks.results import LowShotRecord

VOC07_LOW_SHOT = LowShotProtocol("voc07_low_shot_svm", "mmselfsup", COSTS_MMSELFSUP, SQUASHED)
VISSL_VOC07_LOW_SHOT = LowShotProtocol("vissl_voc07_low_shot_svm", "vissl", COSTS_VISSL, SQUASHED)
FAIR_VOC07_LOW_SHOT = LowShotProtocol("fair_voc07_low_shot_svm", "fair", COSTS_FAIR, SQUASHED)
DIGITS_VOC07_LOW_SHOT = LowShotProtocol(
    "digits_voc07_low_shot_svm", "digits", COSTS_DIGITS, SCENE, samples=3, pooled_size=1024
)

BENCHMARK = Benchmark(
    name="voc07_low_shot_svm",
    dataset="voc07",
    protocols=(
        VOC07_LOW_SHOT,
        VISSL_VOC07_LOW_SHOT,
        FAIR_VOC07_LOW_SHOT,
        DIGITS_VOC07_LOW_SHOT,
    ),
    item=low_shot_item,
    record=LowShotRecord,
    table=TABLE,
    columns=tuple(f"k={shot}" for shot in VOC07_LOW_SHOT.shots),
    figures=None,
    part="Low-shot SVM",
)

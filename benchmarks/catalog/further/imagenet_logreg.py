"""ImageNet logistic regression on average-pooled features, with few labels too: its own table."""

from benchmarks.catalog.benchmark import Benchmark, ZooTable, logreg_item
from benchmarks.catalog.images import CENTRE_CROP, DIGIT
from benchmarks.logreg.record import LogregRecord, percent_name, top1_by_column
from benchmarks.protocols import LogregProtocol

# The 45 values of C of DINOv2's and DINOv3's evaluation: evenly from 1e-6 to 1e5 by logarithm.
COSTS = tuple(10.0 ** (-6 + 11 * number / 44) for number in range(45))
COSTS_DIGITS = (0.001, 0.01, 0.1, 1.0, 10.0)

IMAGENET_LOGREG = LogregProtocol("dinov2_logreg_imagenet", "dinov2", CENTRE_CROP, COSTS)
DIGITS_LOGREG = LogregProtocol(
    "digits_logreg_imagenet", "digits", DIGIT, COSTS_DIGITS, fractions=(0.1,), samples=3
)

BENCHMARK = Benchmark(
    name="imagenet_logreg",
    dataset="imagenet",
    protocols=(IMAGENET_LOGREG, DIGITS_LOGREG),
    item=logreg_item,
    record=LogregRecord,
    table=ZooTable("imagenet-logreg", "ImageNet Logistic Regression"),
    columns=(
        "LogReg",
        *(f"{k}-shot" for k in IMAGENET_LOGREG.per_class),
        *map(percent_name, IMAGENET_LOGREG.fractions),
    ),
    figures=top1_by_column,
    part="Logistic regression",
)

"""ImageNet linear classification on the pooled last stage: the column AvgPool of its table."""

from dataclasses import replace

from benchmarks.catalog.benchmark import Benchmark, probe_item
from benchmarks.catalog.columns import top1_by_column
from benchmarks.catalog.imagenet_linear import TABLE
from benchmarks.catalog.images import CENTRE_CROP, DIGIT, RANDOM_RESIZED_CROP, SHIFTED_DIGIT
from benchmarks.protocols import LinearProtocol
from benchmarks.results import ProbeRecord

IMAGENET_AVGPOOL = LinearProtocol(
    name="resnet50_linear-8xb32-steplr-100e_in1k",
    benchmark="imagenet_avgpool",
    dataset="imagenet",
    variant="mmselfsup",
    train=RANDOM_RESIZED_CROP,
    test=CENTRE_CROP,
    epochs=100,
    milestones=(60, 80),
    learning_rate=30.0,
    weight_decay=0.0,
    taps="avgpool",
)
# The settings of SwAV's and of SimSiam's paper, by which MMSelfSup measured some methods' AvgPool.
IMAGENET_AVGPOOL_COSINE = replace(
    IMAGENET_AVGPOOL,
    name="resnet50_linear-8xb32-coslr-100e_in1k",
    milestones=(),
    learning_rate=0.3,
    weight_decay=1e-6,
    schedule="cosine",
    evaluate_every=10,
)
IMAGENET_AVGPOOL_LARS = replace(
    IMAGENET_AVGPOOL_COSINE,
    name="resnet50_linear-8xb512-coslr-90e_in1k",
    epochs=90,
    learning_rate=1.6,
    weight_decay=0.0,
    batch_size=4096,
    optimizer="lars",
    lars_eta=0.001,
    lars_epsilon=1e-8,
)
DIGITS_IMAGENET_AVGPOOL = replace(
    IMAGENET_AVGPOOL,
    name="digits_linear-4e_in1k",
    variant="digits",
    train=SHIFTED_DIGIT,
    test=DIGIT,
    epochs=4,
    milestones=(3,),
    learning_rate=0.1,
    batch_size=32,
)

BENCHMARK = Benchmark(
    name="imagenet_avgpool",
    dataset="imagenet",
    protocols=(
        IMAGENET_AVGPOOL,
        IMAGENET_AVGPOOL_LARS,
        IMAGENET_AVGPOOL_COSINE,
        DIGITS_IMAGENET_AVGPOOL,
    ),
    item=probe_item,
    record=ProbeRecord,
    table=TABLE,
    columns=("AvgPool",),
    figures=top1_by_column,
    part="AvgPool",
)

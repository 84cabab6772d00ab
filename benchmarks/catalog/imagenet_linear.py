"""ImageNet linear classification on feature1..feature5: the first five columns of its table."""

from dataclasses import replace

from benchmarks.catalog.benchmark import Benchmark, ZooTable, probe_item
from benchmarks.catalog.columns import FEATURE_COLUMNS, top1_by_column
from benchmarks.catalog.images import (
    CENTRE_CROP,
    DIGIT,
    JITTERED_CROP,
    RANDOM_RESIZED_CROP,
    SHIFTED_DIGIT,
)
from benchmarks.protocols import LinearProtocol
from benchmarks.results import ProbeRecord

IMAGENET_LINEAR = LinearProtocol(
    name="resnet50_mhead_linear-8xb32-steplr-90e_in1k",
    benchmark="imagenet_linear",
    dataset="imagenet",
    variant="mmselfsup",
    train=JITTERED_CROP,
    test=CENTRE_CROP,
    epochs=90,
    milestones=(30, 60),
    learning_rate=0.01,
    weight_decay=1e-4,
    taps="stages",
    nesterov=True,
    batch_norm="plain",
)
# VISSL eval_resnet_8gpu_transfer_*_linear: BN with scale and shift, torch's default linear init.
VISSL_IMAGENET_LINEAR = replace(
    IMAGENET_LINEAR,
    name="vissl_mhead_linear-28e_in1k",
    variant="vissl",
    train=RANDOM_RESIZED_CROP,
    epochs=28,
    milestones=(8, 16, 24),
    weight_decay=5e-4,
    batch_norm="affine",
    init_std=None,
)
# FAIR fair_self_supervision_benchmark, legacy_tasks: 28 epochs, its augmentation, no BN scale.
FAIR_IMAGENET_LINEAR = replace(
    IMAGENET_LINEAR,
    name="fair_mhead_linear-28e_in1k",
    variant="fair",
    epochs=28,
    milestones=(8, 16, 24),
)
# The embedded digits: the same procedure on 32-pixel images, in seconds. The learning rate is the
# published one, scaled with the batch (0.01 for 256); at 0.01 the heads jump about, and their last
# epoch says little.
DIGITS_IMAGENET_LINEAR = replace(
    IMAGENET_LINEAR,
    name="digits_mhead_linear-2e_in1k",
    variant="digits",
    train=SHIFTED_DIGIT,
    test=DIGIT,
    epochs=2,
    milestones=(1,),
    learning_rate=0.01 * 32 / 256,
    batch_size=32,
)

TABLE = ZooTable("imagenet-linear", "ImageNet Linear Evaluation")
BENCHMARK = Benchmark(
    name="imagenet_linear",
    dataset="imagenet",
    protocols=(
        IMAGENET_LINEAR,
        VISSL_IMAGENET_LINEAR,
        FAIR_IMAGENET_LINEAR,
        DIGITS_IMAGENET_LINEAR,
    ),
    item=probe_item,
    record=ProbeRecord,
    table=TABLE,
    columns=FEATURE_COLUMNS,
    figures=top1_by_column,
    part="Feature1 - Feature5",
)

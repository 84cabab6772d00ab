"""ImageNet linear classification on every block of a ViT or a ResNet: a curve over the layers.

The numbers of the multi-head probe, with a head on each block instead of feature1..feature5.
"""

from dataclasses import replace

from benchmarks.catalog.benchmark import Benchmark, ZooTable, probe_item
from benchmarks.catalog.columns import top1_by_column
from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR, IMAGENET_LINEAR
from benchmarks.results import ProbeRecord

IMAGENET_BLOCKS = replace(
    IMAGENET_LINEAR,
    name="resnet50_blocks_linear-8xb32-steplr-90e_in1k",
    benchmark="imagenet_blocks",
    taps="blocks",
)
DIGITS_IMAGENET_BLOCKS = replace(
    DIGITS_IMAGENET_LINEAR,
    name="digits_blocks_linear-2e_in1k",
    benchmark="imagenet_blocks",
    taps="blocks",
)
# What --taps blocks makes of a multi-head protocol, by name.
TWINS = {
    IMAGENET_LINEAR.name: IMAGENET_BLOCKS,
    DIGITS_IMAGENET_LINEAR.name: DIGITS_IMAGENET_BLOCKS,
}

BENCHMARK = Benchmark(
    name="imagenet_blocks",
    dataset="imagenet",
    protocols=(IMAGENET_BLOCKS, DIGITS_IMAGENET_BLOCKS),
    item=probe_item,
    record=ProbeRecord,
    table=ZooTable("imagenet-blocks", "ImageNet Linear Evaluation by Block"),
    columns=("Block1",),  # and as many more as the networks have
    figures=top1_by_column,
    part="Blocks",
)

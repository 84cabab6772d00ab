"""ImageNet classification by attentive heads on the last map: a table of its own.

The numbers are those of efficient probing (ICLR 2026, arXiv:2506.10178): LARS, batches of 4,096, a
warm-up of 10 epochs and a cosine, here by epoch; 32 queries, and one beside it. Images are resized
as everywhere here, bilinearly, where the authors resize bicubically.
"""

from dataclasses import replace

from benchmarks.catalog.benchmark import Benchmark, ZooTable, probe_item
from benchmarks.catalog.columns import top1_by_query
from benchmarks.catalog.imagenet_avgpool import DIGITS_IMAGENET_AVGPOOL, IMAGENET_AVGPOOL_LARS
from benchmarks.results import ProbeRecord

IMAGENET_ATTENTIVE = replace(
    IMAGENET_AVGPOOL_LARS,
    name="ep_attentive-8xb512-coslr-90e_in1k",
    benchmark="imagenet_attentive",
    variant="ep",
    taps="positions",
    queries=(1, 32),
    batch_norm="plain",
    init_std=None,
    warmup=10,
    evaluate_every=1,
)
DIGITS_IMAGENET_ATTENTIVE = replace(
    DIGITS_IMAGENET_AVGPOOL,
    name="digits_attentive-4e_in1k",
    benchmark="imagenet_attentive",
    taps="positions",
    queries=(1, 32),
    batch_norm="plain",
    init_std=None,
)

BENCHMARK = Benchmark(
    name="imagenet_attentive",
    dataset="imagenet",
    protocols=(IMAGENET_ATTENTIVE, DIGITS_IMAGENET_ATTENTIVE),
    item=probe_item,
    record=ProbeRecord,
    table=ZooTable("imagenet-attentive", "ImageNet Attentive Probing"),
    columns=tuple(f"EP{queries}" for queries in IMAGENET_ATTENTIVE.queries),
    figures=top1_by_query,
    part="Attentive",
)

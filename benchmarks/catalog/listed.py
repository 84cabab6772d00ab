"""The list of benchmarks: a line each. Suites, records, tables and footnotes follow from it.

What a new one takes is shown by example in CONTRIBUTING.md.
"""

from collections.abc import Iterable, Sequence

from benchmarks.catalog import (
    imagenet_avgpool,
    imagenet_linear,
    inaturalist18_linear,
    own,
    places205_linear,
    voc07_low_shot_svm,
    voc07_svm,
)
from benchmarks.catalog.benchmark import Benchmark
from benchmarks.catalog.further import (
    imagenet_attentive,
    imagenet_blocks,
    imagenet_knn,
    imagenet_logreg,
)
from benchmarks.datasets.catalog import DATASETS
from benchmarks.protocols import VARIANTS, Protocol

LISTED: tuple[Benchmark, ...] = (
    voc07_svm.BENCHMARK,
    voc07_low_shot_svm.BENCHMARK,
    imagenet_linear.BENCHMARK,
    imagenet_avgpool.BENCHMARK,
    places205_linear.BENCHMARK,
    inaturalist18_linear.BENCHMARK,
    imagenet_knn.BENCHMARK,
    imagenet_logreg.BENCHMARK,
    imagenet_attentive.BENCHMARK,
    imagenet_blocks.BENCHMARK,
    own.LINEAR,
    own.AVGPOOL,
    own.SVM,
    own.LOW_SHOT,
    own.KNN,
    own.LOGREG,
    own.ATTENTIVE,
    own.BLOCKS,
)


def by_name(benchmarks: Iterable[Benchmark]) -> dict[str, Benchmark]:
    """Benchmarks by name; `ValueError` for what no run would find before its end."""
    found: dict[str, Benchmark] = {}
    for one in benchmarks:
        if one.name in found:
            raise ValueError(f"two benchmarks are called {one.name}")
        if one.dataset not in DATASETS:
            raise ValueError(f"the benchmark {one.name} is on {one.dataset}, which is not listed")
        if not (one.protocols or one.dataset == "own") or not one.columns:
            raise ValueError(f"the benchmark {one.name} has no protocol, or no column")
        if (one.figures is None) != (one.table.layout == "best layer"):
            raise ValueError(f"the benchmark {one.name} does not say what stands in its columns")
        for protocol in one.protocols:
            if (protocol.benchmark, protocol.dataset) != (one.name, one.dataset):
                raise ValueError(
                    f"the protocol {protocol.name} is of {protocol.benchmark} on "
                    f"{protocol.dataset}, its benchmark is {one.name} on {one.dataset}"
                )
            if protocol.variant not in VARIANTS:
                raise ValueError(f"the protocol {protocol.name} is of no variant of {VARIANTS}")
        for other in found.values():
            same = one.table.key == other.table.key
            if same and (one.table != other.table or set(one.columns) & set(other.columns)):
                raise ValueError(
                    f"{other.name} and {one.name} do not agree on the table {one.table.key}"
                )
        found[one.name] = one
    return found


def all_protocols(benchmarks: Sequence[Benchmark]) -> dict[str, Protocol]:
    """The protocols of all benchmarks by name, variant after variant; `ValueError` for twins."""
    found: dict[str, Protocol] = {}
    everything = [protocol for one in benchmarks for protocol in one.protocols]
    for protocol in sorted(everything, key=lambda one: VARIANTS.index(one.variant)):
        if protocol.name in found:
            raise ValueError(f"two protocols are called {protocol.name}")
        found[protocol.name] = protocol
    return found


BENCHMARKS = by_name(LISTED)
PROTOCOLS = all_protocols(LISTED)

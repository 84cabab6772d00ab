"""The benchmarks on a user's own data: the procedures of others, in tables of their own.

A protocol keeps its numbers and its name; its benchmark is one of these, its dataset `own:NAME`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from benchmarks.catalog.benchmark import (
    Benchmark,
    ZooTable,
    knn_item,
    logreg_item,
    low_shot_item,
    probe_item,
    voc_svm_item,
)
from benchmarks.catalog.columns import FEATURE_COLUMNS, top1_by_column, top1_by_query
from benchmarks.catalog.further.imagenet_attentive import BENCHMARK as IMAGENET_ATTENTIVE
from benchmarks.catalog.further.imagenet_blocks import BENCHMARK as IMAGENET_BLOCKS
from benchmarks.catalog.further.imagenet_knn import BENCHMARK as IMAGENET_KNN
from benchmarks.catalog.further.imagenet_logreg import BENCHMARK as IMAGENET_LOGREG
from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.loading import load_dataset
from benchmarks.knn.record import KnnRecord, top1_by_k
from benchmarks.logreg.record import LogregRecord
from benchmarks.logreg.record import top1_by_column as logreg_top1_by_column
from benchmarks.protocols import (
    KnnProtocol,
    LinearProtocol,
    LogregProtocol,
    LowShotProtocol,
    Protocol,
    SvmProtocol,
)
from benchmarks.results import LowShotRecord, ProbeRecord, Record, VocSvmRecord
from slurm.errors import UserError
from slurm.files import check_name

P = TypeVar("P", bound=Protocol)

_PROBES = ZooTable("own-linear", "Linear Evaluation")
_SVMS = ZooTable("own-svm", "SVM / Low-shot SVM", layout="best layer")

LINEAR = Benchmark(
    name="own_linear",
    dataset="own",
    protocols=(),
    item=probe_item,
    record=ProbeRecord,
    table=_PROBES,
    columns=FEATURE_COLUMNS,
    figures=top1_by_column,
    part="Feature1 - Feature5",
)
AVGPOOL = Benchmark(
    name="own_avgpool",
    dataset="own",
    protocols=(),
    item=probe_item,
    record=ProbeRecord,
    table=_PROBES,
    columns=("AvgPool",),
    figures=top1_by_column,
    part="AvgPool",
)
SVM = Benchmark(
    name="own_svm",
    dataset="own",
    protocols=(),
    item=voc_svm_item,
    record=VocSvmRecord,
    table=_SVMS,
    columns=("Best Layer", "SVM"),
    figures=None,
    part="SVM",
)
LOW_SHOT = Benchmark(
    name="own_low_shot_svm",
    dataset="own",
    protocols=(),
    item=low_shot_item,
    record=LowShotRecord,
    table=_SVMS,
    columns=tuple(f"k={shot}" for shot in (1, 2, 4, 8, 16, 32, 64, 96)),
    figures=None,
    part="Low-shot SVM",
)
KNN = Benchmark(
    name="own_knn",
    dataset="own",
    protocols=(),
    item=knn_item,
    record=KnnRecord,
    table=ZooTable("own-knn", "Nearest-Neighbor Classification", decimals=1),
    columns=IMAGENET_KNN.columns,
    figures=top1_by_k,
    part=IMAGENET_KNN.part,
)
LOGREG = Benchmark(
    name="own_logreg",
    dataset="own",
    protocols=(),
    item=logreg_item,
    record=LogregRecord,
    table=ZooTable("own-logreg", "Logistic Regression"),
    columns=IMAGENET_LOGREG.columns,
    figures=logreg_top1_by_column,
    part=IMAGENET_LOGREG.part,
)

ATTENTIVE = Benchmark(
    name="own_attentive",
    dataset="own",
    protocols=(),
    item=probe_item,
    record=ProbeRecord,
    table=ZooTable("own-attentive", "Attentive Probing"),
    columns=IMAGENET_ATTENTIVE.columns,
    figures=top1_by_query,
    part=IMAGENET_ATTENTIVE.part,
)
BLOCKS = Benchmark(
    name="own_blocks",
    dataset="own",
    protocols=(),
    item=probe_item,
    record=ProbeRecord,
    table=ZooTable("own-blocks", "Linear Evaluation by Block"),
    columns=IMAGENET_BLOCKS.columns,
    figures=top1_by_column,
    part=IMAGENET_BLOCKS.part,
)
_OF_TAPS = {"stages": LINEAR, "avgpool": AVGPOOL, "positions": ATTENTIVE, "blocks": BLOCKS}


def on_own_data(protocol: P, name: str | None) -> P:
    """The same numbers on data that the user calls `name`, if on any.

    `UserError` for a name that is no file name, or is that of a known dataset.
    """
    if name is None:
        return protocol
    benchmark = LOW_SHOT
    if isinstance(protocol, LinearProtocol):
        benchmark = _OF_TAPS[protocol.taps]
    elif isinstance(protocol, SvmProtocol):
        benchmark = SVM
    elif isinstance(protocol, KnnProtocol):
        benchmark = KNN
    elif isinstance(protocol, LogregProtocol):
        benchmark = LOGREG
    return replace(protocol, benchmark=benchmark.name, dataset=f"own:{_checked(name)}")


def suite_on_own_data(protocols: Sequence[Protocol], name: str, folder: Path) -> list[Protocol]:
    """The protocols of a suite that fit the layout of the data at `folder`.

    Of the linear probes those on ImageNet, whose numbers the others differ from by their own data.
    `UserError` when none fits.
    """
    dataset = f"own:{_checked(name)}"
    folders = "train" in load_dataset(dataset, folder).splits
    fit = [
        protocol
        for protocol in protocols
        if folders == (protocol.dataset == "imagenet")
        and (folders or isinstance(protocol, SvmProtocol | LowShotProtocol))
    ]
    if not fit:
        wanted = "those on imagenet" if folders else "the SVMs"
        raise UserError(
            f"none of the chosen protocols can measure on {folder}: of its layout are {wanted}"
        )
    return [on_own_data(protocol, name) for protocol in fit]


def own_name(record: Record) -> str:
    """What the user calls the data of a record of these benchmarks; `UserError` for no name."""
    dataset = record.settings.get("dataset")
    if not isinstance(dataset, str) or not dataset.startswith("own:"):
        raise UserError(f"names no data of its own: settings.dataset is {str(dataset)[:80]!r}")
    return _checked(dataset.removeprefix("own:"))


def _checked(name: str) -> str:
    check_name(name, "--own")
    for entry in DATASETS.values():
        known = {entry.name, entry.title, entry.folder.rpartition("/")[2]}
        if _plain(name) in set(map(_plain, known)):
            raise UserError(f"--own {name} is the name of a known dataset: choose another")
    return name


def _plain(text: str) -> str:
    return re.sub("[^a-z0-9]", "", text.casefold())

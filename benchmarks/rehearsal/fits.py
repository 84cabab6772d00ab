"""The SVMs: a real fit of a few classes on one layer, as large as the real one.

Where the features are not on disk yet, those of the images that the rehearsal extracted are
repeated, with noise, as often as there are images: how soon a fit converges depends on features,
so the seconds are an estimate.
"""

import math
import time
from dataclasses import replace

import numpy as np

from benchmarks.datasets.loading import load_dataset
from benchmarks.devices import resolve_device
from benchmarks.features.extraction import ExtractVoc
from benchmarks.features.files import LayerData
from benchmarks.protocols import LowShotProtocol
from benchmarks.rehearsal.extraction import Sample
from benchmarks.rehearsal.features import repeated
from benchmarks.rehearsal.report import Row
from benchmarks.rehearsal.watch import Watch, begin_item, gpu_gib
from benchmarks.svm.draws import draw
from benchmarks.svm.evaluation import evaluate_full, evaluate_low_shot
from benchmarks.svm.full_item import VocSvmLayer
from benchmarks.svm.low_shot_item import LowShot
from benchmarks.svm.machine import Machine

CLASSES = 4  # that are fitted


def fit_row(item: VocSvmLayer | LowShot, parts: int, sample: Sample | None) -> Row:
    """Measure one of `parts` like items; without a `sample` on the features that are on disk."""
    source, protocol = item.source, item.protocol
    whole = source.read(item.layer) if sample is None else _filled(item, sample)
    count = len(whole.classes)
    fitted = min(CLASSES if source.solver == "gram" else 1, count)  # liblinear takes minutes
    data = replace(
        whole,
        train_labels=whole.train_labels[:, :fitted],
        test_labels=whole.test_labels[:, :fitted],
        classes=whole.classes[:fitted],
    )
    machine = Machine(
        data=data,
        solver=source.solver,
        epsilon=protocol.norm_epsilon,
        positive_weight=protocol.positive_weight,
        seed=source.seed,
        device=source.device,
    )
    device = resolve_device(source.device if source.solver == "gram" else "cpu")
    begin_item(device)
    watch = Watch(math.inf, device)
    watch.start()
    began = time.perf_counter()
    assert machine.engine is not None  # made when first asked for, once for all classes
    made = time.perf_counter() - began
    if isinstance(item, LowShot):
        fit = _low_shot(machine, item.protocol, source.seed)
        ends = _ends(item.protocol)
        of = f", k = {ends[0]}" + f" and {ends[-1]}, a line between them" * (len(ends) > 1)
    else:
        began = time.perf_counter()
        evaluate_full(machine, item.protocol)
        fit, of = time.perf_counter() - began, ""
    watch.end()
    on = "the features on disk" if sample is None else "features of some images, repeated"
    return Row(
        name=f"{source.checkpoint.name}/{protocol.benchmark}/{protocol.name}",
        stage=item.stage,
        parts=parts,
        part_seconds=made + fit * count / fitted,
        host_gib=watch.host_gib,
        gpu_gib=gpu_gib(device),
        measured=("host_gib", "gpu_gib"),
        estimated=("hours", "part_seconds"),
        notes=(f"from fits of {fitted} of {count} classes on {on}: {item.layer}{of}",),
    )


def _low_shot(machine: Machine, protocol: LowShotProtocol, seed: int) -> float:
    """Seconds of one k, in the mean over all: two are fitted, the others lie on a line between."""
    data, negatives = machine.data, protocol.negatives_per_positive
    taken = []
    for k in _ends(protocol):
        draws = [
            draw(data.train_labels, data.classes, sample, k, negatives, seed)
            for sample in range(1, protocol.samples + 1)
        ]
        began = time.perf_counter()
        evaluate_low_shot(machine, protocol, np.stack(draws), sha256="")
        taken.append(time.perf_counter() - began)
    return float(np.interp(protocol.shots, _ends(protocol), taken).mean())


def _ends(protocol: LowShotProtocol) -> list[int]:
    """The smallest and the largest k, or the only one."""
    return sorted({min(protocol.shots), max(protocol.shots)})


def _filled(item: VocSvmLayer | LowShot, sample: Sample) -> LayerData:
    """The real labels, with the sample's features in the place of those that are not there yet."""
    (extract,) = item.source.needs
    assert isinstance(extract, ExtractVoc)
    splits = load_dataset(extract.dataset, extract.data).splits
    trainval, test = splits["trainval"], splits["test"]
    known = sample.features[item.layer]
    return LayerData(
        train=repeated(known, len(trainval.paths), seed=0),
        test=repeated(known, len(test.paths), seed=1),
        train_labels=trainval.labels.astype(np.int8),
        test_labels=test.labels.astype(np.int8),
        classes=trainval.classes,
    )

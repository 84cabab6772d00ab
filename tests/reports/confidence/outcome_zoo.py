"""A zoo of records with outcomes, written by the harness's own writers."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.catalog.imagenet_avgpool import DIGITS_IMAGENET_AVGPOOL as AVGPOOL
from benchmarks.catalog.voc07_svm import DIGITS_VOC07_SVM as SVM
from benchmarks.metrics import envelope_average_precision
from benchmarks.outcomes.files import write_outcomes

IMAGES, CLASSES = 300, 3


def probe(zoo: Path, name: str, right: NDArray[np.bool_], seed: int = 0) -> Path:
    """An AvgPool record whose `right` images (N,) have rank 0, and the others rank 3."""
    split = results.Split(len(right), 10, "ab" * 32)
    path = zoo / "results" / name / "imagenet_avgpool" / f"{AVGPOOL.name}-{seed:016x}.json"
    outcomes = write_outcomes(path, {"avgpool.rank": np.where(right, 0, 3).astype(np.int16)}, split)
    top1 = 100 * float(right.mean())
    epochs = AVGPOOL.epochs
    record = results.ProbeRecord(
        **_fields(AVGPOOL, name, {"train": results.Split(9, 10, "cd"), "val": split}),
        seed=seed,
        heads={
            "avgpool": results.Head(top1, 100.0, top1, AVGPOOL.epochs, (top1,) * AVGPOOL.epochs)
        },
        epochs=epochs,
        outcomes=outcomes,
    )
    results.write(path, record)
    return path


def svm(zoo: Path, name: str, scores: NDArray[np.float32], labels: NDArray[np.int8]) -> Path:
    """A VOC record of one layer from its test scores (N, classes)."""
    split = results.Split(len(labels), labels.shape[1], "ef" * 32)
    path = zoo / "results" / name / "voc07_svm" / f"{SVM.name}-0123456789abcdef.json"
    outcomes = write_outcomes(path, {"feature5.scores": scores, "labels": labels}, split)
    ap = tuple(
        100 * float(envelope_average_precision(scores[:, k], labels[:, k] == 1))
        for k in range(labels.shape[1])
    )
    costs = (1.0,) * labels.shape[1]
    layer = results.SvmLayer(
        float(np.mean(ap)), ap, costs, ((50.0,) * len(SVM.costs),) * labels.shape[1]
    )
    record = results.VocSvmRecord(
        **_fields(SVM, name, {"trainval": results.Split(9, 3, "cd"), "test": split}),
        seed=0,
        classes=tuple(f"class{k}" for k in range(labels.shape[1])),
        layers={"feature5": layer},
        best_layer="feature5",
        outcomes=outcomes,
    )
    results.write(path, record)
    return path


def scores_and_labels(seed: int, strength: float) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Scores (IMAGES, CLASSES) that tell the labels apart by `strength` standard deviations."""
    rng = np.random.default_rng(seed)
    labels = (np.random.default_rng(0).random((IMAGES, CLASSES)) < 0.2).astype(np.int8)
    noise = rng.normal(size=labels.shape)
    return (noise + strength * labels).astype(np.float32), labels


def _fields(protocol: Any, name: str, data: dict[str, results.Split]) -> dict[str, Any]:
    return {
        "benchmark": protocol.benchmark,
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "variant": protocol.variant,
        "settings": msgspec.to_builtins(protocol),
        "checkpoint": results.Checkpoint(name, "resnet18", "0" * 64),
        "data": data,
        "device": "cpu",
        "threads": 1,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5,
        **results.environment(),
    }

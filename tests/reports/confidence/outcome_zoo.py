"""A zoo of records with outcomes, written by the harness's own writers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.catalog.further.imagenet_knn import DIGITS_KNN as KNN
from benchmarks.catalog.further.imagenet_logreg import DIGITS_LOGREG as LOGREG
from benchmarks.catalog.imagenet_avgpool import DIGITS_IMAGENET_AVGPOOL as AVGPOOL
from benchmarks.catalog.own import on_own_data
from benchmarks.catalog.voc07_low_shot_svm import DIGITS_VOC07_LOW_SHOT as LOW_SHOT
from benchmarks.catalog.voc07_svm import DIGITS_VOC07_SVM as SVM
from benchmarks.knn.record import Accuracy, KnnRecord
from benchmarks.logreg.record import FewLabels, LogregRecord, PathPoint
from benchmarks.metrics import envelope_average_precision
from benchmarks.outcomes.files import write_outcomes
from benchmarks.outcomes.halves import both_halves
from benchmarks.outcomes.ordering import ranks
from benchmarks.protocols import LinearProtocol

IMAGES, CLASSES = 300, 3
LIST = "ef" * 32  # hash of the list of VOC's test images


def probe(
    zoo: Path,
    name: str,
    right: NDArray[np.bool_],
    seed: int = 0,
    own: str | None = None,
    protocol: LinearProtocol = AVGPOOL,
) -> Path:
    """An AvgPool record whose `right` images (N,) have rank 0, and the others rank 3."""
    protocol = on_own_data(protocol, own)
    split = results.Split(len(right), 10, "ab" * 32)
    path = zoo / "results" / name / protocol.benchmark / f"{protocol.name}-{seed:016x}.json"
    outcomes = write_outcomes(path, {"avgpool.rank": np.where(right, 0, 3).astype(np.int16)}, split)
    top1 = 100 * float(right.mean())
    epochs = protocol.epochs
    record = results.ProbeRecord(
        **_fields(protocol, name, {"train": results.Split(9, 10, "cd"), "val": split}),
        seed=seed,
        heads={"avgpool": results.Head(top1, 100.0, top1, epochs, (top1,) * epochs)},
        epochs=epochs,
        outcomes=outcomes,
    )
    results.write(path, record)
    return path


def knn(zoo: Path, name: str, right: Mapping[int, NDArray[np.bool_]]) -> Path:
    """A k-NN record whose `right` images (N,), by k, have rank 0, and the others rank 3."""
    split = results.Split(len(next(iter(right.values()))), 10, "ab" * 32)
    path = zoo / "results" / name / "imagenet_knn" / f"{KNN.name}-0123456789abcdef.json"
    tensors = {f"{k}.rank": np.where(one, 0, 3).astype(np.int16) for k, one in right.items()}
    top1 = {str(k): 100 * float(one.mean()) for k, one in right.items()}
    record = KnnRecord(
        **_fields(KNN, name, {"train": results.Split(900, 10, "cd"), "val": split}),
        seed=0,
        k={k: Accuracy(value, 100.0) for k, value in top1.items()},
        temperature=0.07,
        grid={"0.07": top1},
        dimensions=512,
        outcomes=write_outcomes(path, tensors, split),
    )
    results.write(path, record)
    return path


def logreg(zoo: Path, name: str, right: NDArray[np.bool_], few: float) -> Path:
    """A record of logistic regression, as `knn`; `few` percent by 1 label a class and by 10 %."""
    split = results.Split(len(right), 10, "ab" * 32)
    path = zoo / "results" / name / "imagenet_logreg" / f"{LOGREG.name}-0123456789abcdef.json"
    tensors = {"logreg.rank": np.where(right, 0, 3).astype(np.int16)}
    top1 = 100 * float(right.mean())
    row = FewLabels(few, few, few, 0.0, 1.0, (few,), (few,), 10, "drawn")
    record = LogregRecord(
        **_fields(LOGREG, name, {"train": results.Split(900, 10, "cd"), "val": split}),
        seed=0,
        top1=top1,
        top5=100.0,
        cost=1.0,
        path=(PathPoint(1.0, 50.0, top1, 1.0, 1e-9),),
        held_out=90,
        shots={"1": row},
        fractions={"0.1": row},
        dimensions=512,
        outcomes=write_outcomes(path, tensors, split),
    )
    results.write(path, record)
    return path


def svm(zoo: Path, name: str, scores: NDArray[np.float32], labels: NDArray[np.int8]) -> Path:
    """A VOC record of one layer from its test scores (N, classes)."""
    return svm_of_layers(zoo, name, {"feature5": scores}, labels)


def svm_of_layers(
    zoo: Path, name: str, scores: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int8]
) -> Path:
    """A VOC record of several layers from their test scores (N, classes)."""
    split = results.Split(len(labels), labels.shape[1], LIST)
    path = zoo / "results" / name / "voc07_svm" / f"{SVM.name}-0123456789abcdef.json"
    tensors = {f"{layer}.scores": one for layer, one in scores.items()}
    outcomes = write_outcomes(path, {**tensors, "labels": labels}, split)
    layers = {}
    for layer, one in scores.items():
        ap = average_precisions(one, labels)
        costs = (1.0,) * labels.shape[1]
        cv_ap = ((50.0,) * len(SVM.costs),) * labels.shape[1]
        layers[layer] = results.SvmLayer(float(np.mean(ap)), ap, costs, cv_ap)
    record = results.VocSvmRecord(
        **_fields(SVM, name, {"trainval": results.Split(9, 3, "cd"), "test": split}),
        seed=0,
        classes=tuple(f"class{k}" for k in range(labels.shape[1])),
        layers=layers,
        best_layer=max(layers, key=lambda layer: layers[layer].map),
        outcomes=outcomes,
    )
    results.write(path, record)
    return path


def low_shot(
    zoo: Path, name: str, scores: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int8]
) -> Path:
    """A low-shot record of k = 1 by layer: one draw, scores (costs, N, classes)."""
    split = results.Split(len(labels), labels.shape[1], LIST)
    path = zoo / "results" / name / "voc07_low_shot_svm" / f"{LOW_SHOT.name}-0123456789abcdef.json"
    halves = both_halves(len(labels), LIST)
    layers, tensors = {}, {"labels": labels}
    for layer, by_cost in scores.items():
        maps = [float(np.mean(average_precisions(one, labels))) for one in by_cost]
        best = int(np.argmax(maps))
        tensors[f"{layer}.k=1.ranks"] = ranks(by_cost[best].T).T[None]
        tensors[f"{layer}.k=1.halves"] = np.array(
            [
                [np.mean(average_precisions(one[half], labels[half])) for half in halves]
                for one in by_cost
            ]
        )
        costs = {repr(cost): (value,) for cost, value in zip(LOW_SHOT.costs, maps)}
        top = maps[best]
        shot = results.Shot(top, top, top, 0.0, LOW_SHOT.costs[best], costs)
        layers[layer] = results.LowShotLayer({"1": shot})
    fields = _fields(LOW_SHOT, name, {"trainval": results.Split(9, 3, "cd"), "test": split})
    fields["settings"] |= {"samples": 1, "shots": [1]}
    record = results.LowShotRecord(
        **fields,
        seed=0,
        layers=layers,
        selection="test",
        outcomes=write_outcomes(path, tensors, split),
    )
    results.write(path, record)
    return path


def low_shot_of_draws(
    zoo: Path, name: str, draws: NDArray[np.float32], labels: NDArray[np.int8], source: str
) -> Path:
    """A low-shot record of k = 1 on feature5: scores (draws, N, classes), by draws of `source`."""
    split = results.Split(len(labels), labels.shape[1], LIST)
    path = zoo / "results" / name / "voc07_low_shot_svm" / f"{LOW_SHOT.name}-0123456789abcdef.json"
    maps = tuple(float(np.mean(average_precisions(one, labels))) for one in draws)
    kept = np.stack([ranks(one.T).T for one in draws])
    cost = LOW_SHOT.costs[0]
    shot = results.Shot(
        float(np.mean(maps)), min(maps), max(maps), float(np.std(maps)), cost, {repr(cost): maps}
    )
    fields = _fields(LOW_SHOT, name, {"trainval": results.Split(9, 3, "cd"), "test": split})
    fields["settings"] |= {"samples": len(draws), "draws": {"1": source}}
    record = results.LowShotRecord(
        **fields,
        seed=0,
        layers={"feature5": results.LowShotLayer({"1": shot})},
        selection="test",
        outcomes=write_outcomes(path, {"feature5.k=1.ranks": kept, "labels": labels}, split),
    )
    results.write(path, record)
    return path


def average_precisions(scores: NDArray[np.float32], labels: NDArray[np.int8]) -> tuple[float, ...]:
    """Of each class, percent."""
    return tuple(
        100 * float(envelope_average_precision(scores[:, k], labels[:, k] == 1))
        for k in range(labels.shape[1])
    )


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

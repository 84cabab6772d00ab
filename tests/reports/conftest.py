"""A zoo of result records, written through the same structs and the same writer as the real one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import pstdev
from typing import Any

import msgspec
import pytest

from benchmarks import results
from benchmarks.catalog.further.imagenet_knn import IMAGENET_KNN
from benchmarks.catalog.further.imagenet_logreg import IMAGENET_LOGREG
from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.places205_linear import PLACES205_LINEAR
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.catalog.voc07_svm import COSTS_MMSELFSUP, VOC07_SVM
from benchmarks.checkpoints.cards import Card
from benchmarks.knn.record import Accuracy, KnnRecord
from benchmarks.logreg.record import FewLabels, LogregRecord, PathPoint
from benchmarks.protocols import LinearProtocol, Protocol
from benchmarks.results import (
    Checkpoint,
    Head,
    LowShotLayer,
    LowShotRecord,
    ProbeRecord,
    Shot,
    Split,
    SvmLayer,
    VocSvmRecord,
)

VOC = {"trainval": Split(5011, 20, "a" * 64), "test": Split(4952, 20, "b" * 64)}
PLACES = {"train": Split(2448873, 205, "e" * 64), "val": Split(20500, 205, "f" * 64)}
INATURALIST = {"train": Split(437513, 8142, "e" * 64), "val": Split(24426, 8142, "f" * 64)}
IMAGES = {"train": Split(1281167, 1000, "c" * 64), "val": Split(50000, 1000, "d" * 64)}
DATA = {"imagenet": IMAGES, "places205": PLACES, "inaturalist18": INATURALIST}
CLASSES = tuple(f"class{number:02d}" for number in range(20))
SHOTS = (1, 2, 4, 8, 16, 32, 64, 96)
VERSIONS = {"python": "3.11.7", "deepcluster-bench": "0.1.0", "torch": "2.6.0"}


@dataclass
class Zoo:
    """Writes records as the benchmarks do; `extra` replaces any field of the record."""

    path: Path
    config: str | None = None
    weights: str = "blake2b:1234"
    extra: dict[str, Any] = field(default_factory=dict)

    def with_(self, **changes: Any) -> "Zoo":
        return replace(self, **changes)

    def svm(self, name: str, maps: Mapping[str, float], **extra: Any) -> Path:
        layers = {
            layer: SvmLayer(
                value,
                around(value, 20, 9.5),
                (1.0,) * 20,
                ((50.0,) * 19,) * 20,
            )
            for layer, value in maps.items()
        }
        best = max(maps, key=lambda layer: maps[layer])
        made = {"classes": CLASSES, "layers": layers, "best_layer": best, "data": VOC, **extra}
        return self._write(VocSvmRecord, VOC07_SVM, name, made)

    def low_shot(self, name: str, means: Mapping[str, list[float]], **extra: Any) -> Path:
        layers = {
            layer: LowShotLayer(
                {
                    str(k): Shot(
                        value,
                        min(around(value, 5, 2.0)),
                        max(around(value, 5, 2.0)),
                        pstdev(around(value, 5, 2.0)),
                        1.0,
                        {repr(cost): around(value, 5, 2.0) for cost in COSTS_MMSELFSUP},
                    )
                    for k, value in zip(SHOTS, values)
                }
            )
            for layer, values in means.items()
        }
        made = {"layers": layers, "selection": "test", "data": VOC, **extra}
        return self._write(LowShotRecord, VOC07_LOW_SHOT, name, made)

    def probe(
        self,
        name: str,
        heads: Mapping[str, float],
        protocol: LinearProtocol = IMAGENET_LINEAR,
        **extra: Any,
    ) -> Path:
        every, epochs = protocol.evaluate_every, protocol.epochs
        evaluated = (*range(every, epochs, every), epochs)
        later = len(evaluated) - 1
        made = {
            "heads": {
                layer: Head(
                    value,
                    min(value + 20, 100),
                    min(value + (later > 0), 100),
                    evaluated[0],
                    (*(min(value + 1, 100),) * (later > 0), *(value,) * max(later, 1)),
                )
                for layer, value in heads.items()
            },
            "epochs": epochs,
            "evaluated": () if every == 1 else evaluated,
            "data": DATA.get(protocol.dataset),
            **extra,
        }
        return self._write(ProbeRecord, protocol, name, made)

    def knn(self, name: str, top1: Mapping[int, float], **extra: Any) -> Path:
        by_k = {str(k): value for k, value in top1.items()}
        made = {
            "k": {k: Accuracy(value, min(value + 20, 100)) for k, value in by_k.items()},
            "temperature": 0.07,
            "grid": {"0.03": {k: value / 2 for k, value in by_k.items()}, "0.07": by_k},
            "dimensions": 2048,
            "data": IMAGES,
            **extra,
        }
        return self._write(KnnRecord, IMAGENET_KNN, name, made)

    def logreg(self, name: str, top1: float, few: float, **extra: Any) -> Path:
        """The best of five costs is 1; `few` is the mean of every few-label row."""
        costs = (0.01, 0.1, 1.0, 10.0, 100.0)
        held_out = tuple(top1 * part for part in (0.1, 0.5, 0.9, 0.8, 0.7))
        path = tuple(
            PathPoint(cost, held, top1 if cost == 1.0 else top1 / 2, 1.0, 1e-9)
            for cost, held in zip(costs, held_out)
        )
        draws = around(few, 5, 2.0)
        row = FewLabels(
            few, min(draws), max(draws), pstdev(draws), 1.0, draws, held_out, 1000, "drawn"
        )
        made = {
            "top1": top1,
            "top5": min(top1 + 20, 100),
            "cost": 1.0,
            "path": path,
            "held_out": 128116,
            "shots": {"1": row, "10": row},
            "fractions": {"0.01": row, "0.1": row},
            "dimensions": 2048,
            "data": IMAGES,
            **extra,
        }
        return self._write(LogregRecord, IMAGENET_LOGREG, name, made)

    def deepcluster(self, name: str = "sobel_resnet50_8xb64-steplr-200e") -> None:
        """All records of the published DeepCluster row of MMSelfSup."""
        zoo = self.with_(config=DEEPCLUSTER_CONFIG)
        zoo.svm(name, {"feature4": 70.0, "feature5": 74.26})
        zoo.low_shot(name, {"feature4": [20.0] * 8, "feature5": DEEPCLUSTER_SHOTS})
        zoo.probe(name, features([12.78, 30.81, 43.88, 57.71, 51.68]))
        zoo.probe(name, {"avgpool": 46.92}, IMAGENET_AVGPOOL)
        places = features([18.80, 33.93, 41.44, 47.22, 42.61])
        zoo.probe(name, places, PLACES205_LINEAR)

    def card(self, name: str, **fields: Any) -> Path:
        card = Card(
            name=name,
            arch="resnet50",
            sobel=True,
            weights=fields.pop("weights", self.weights),
            mean=(0.5, 0.5, 0.5),
            std=(0.2, 0.2, 0.2),
            **fields,
        )
        path = self.path / "checkpoints" / name / "card.json"
        results.write(path, card)
        return path

    def _write(self, kind: type[results.Record], protocol: Protocol, name: str, made: dict) -> Path:
        fields: dict[str, Any] = {
            "benchmark": protocol.benchmark,
            "protocol": protocol.name,
            "protocol_version": protocol.version,
            "variant": protocol.variant,
            "settings": msgspec.to_builtins(protocol),
            "checkpoint": Checkpoint(name, "resnet50", self.weights, True, self.config),
            "seed": 0,
            "device": "cpu",
            "threads": 2,
            "versions": VERSIONS,
            "commit": "0123abc",
            "host": "alpha",
            "started": "2024-01-01T00:00:00+00:00",
            "seconds": 12.5,
            **made,
            **self.extra,
        }
        fields.update(made)
        key = fields.pop("key", f"{fields['seed']}")
        record = kind(**fields)
        folder = self.path / "results" / name / record.benchmark
        path = folder / f"{record.protocol}-{key}.json"
        results.write(path, record)
        return path


DEEPCLUSTER_CONFIG = (
    "https://github.com/open-mmlab/mmselfsup/blob/master/configs/selfsup/deepcluster/"
    "deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k.py"
)
DEEPCLUSTER_SHOTS = [29.37, 37.99, 45.85, 55.57, 62.48, 66.15, 70.0, 71.37]


def around(mean: float, count: int, most: float) -> tuple[float, ...]:
    """Evenly spaced percent values with this mean, at most `most` away from it."""
    reach = max(0.0, min(most, mean, 100 - mean))
    return tuple(mean + reach * (2 * number / (count - 1) - 1) for number in range(count))


def features(values: list[float]) -> dict[str, float]:
    """feature1.. with these values."""
    return {f"feature{stage}": value for stage, value in enumerate(values, 1)}


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    """An empty zoo."""
    path = tmp_path / "zoo"
    path.mkdir()
    return Zoo(path)

"""Extractions for some seconds, and features for the fits: of VOC07, and average-pooled ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.backbones.pooling import pool
from benchmarks.datasets.loading import load_dataset
from benchmarks.devices import computing, resolve_device
from benchmarks.features.avgpool import ExtractAvgpool
from benchmarks.features.extraction import ExtractVoc
from benchmarks.features.one_pass import batches_of, reader_of, rows_of
from benchmarks.features.rows import BYTES
from benchmarks.images.batches import Images
from benchmarks.images.transforms import build_transform
from benchmarks.probes.frozen import FrozenTrunk
from benchmarks.rehearsal.report import Row
from benchmarks.rehearsal.watch import begin_item
from benchmarks.rehearsal.watched import batch_on, row_of, watch_extraction

FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Sample:
    """Pooled features of the first images of trainval, {tap: (n, D) float32}."""

    features: dict[str, NDArray[np.float32]]


def extraction_row(item: ExtractVoc, seconds: float) -> tuple[Row, Sample]:
    """Measure `item` on its images."""
    trunk = item.trunk
    device = resolve_device(trunk.device)
    begin_item(device)
    splits = load_dataset(item.dataset, item.data).splits
    split = splits["trainval"]
    frozen = FrozenTrunk(trunk, device)
    transform = build_transform(item.image, trunk.mean, trunk.std, fast=trunk.fast)
    images = Images(split, [transform], trunk.seed, trunk.workers, device)

    def batches(rows: NDArray[np.int64]) -> Iterator[tuple[int, Tensor]]:
        for pixels, _ in images.batches(0, 0, rows, batch_on(device)):
            yield len(pixels), pixels

    def pooled(pixels: Tensor) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode(), computing(device, frozen.precision):
            found = pool(frozen.backbone(pixels), item.pooled_size)
        return {tap: values.float().cpu().numpy() for tap, values in found.items()}

    parts: list[dict[str, NDArray[np.float32]]] = []
    count = len(split.paths)
    seen = watch_extraction(batches, pooled, parts.append, count, seconds, device, trunk.workers)
    sample = Sample({tap: np.concatenate([part[tap] for part in parts]) for tap in parts[0]})
    every = sum(len(one.paths) for one in splits.values())
    width = sum(values.shape[1] for values in sample.features.values())
    return row_of(item.key, item.stage, every, width * FLOAT32, seen), sample


def pass_row(
    parts: Sequence[ExtractAvgpool], seconds: float
) -> tuple[Row, list[NDArray[np.floating[Any]]]]:
    """Measure one pass of the trunks of `parts`; features (n, D) of the first images by each."""
    first = parts[0]
    device = resolve_device(first.trunk.device)
    begin_item(device)
    splits = load_dataset(first.dataset, first.data).splits
    split = splits["train"]
    readers = [reader_of(part, device) for part in parts]

    def batches(rows: NDArray[np.int64]) -> Iterator[tuple[int, Any]]:
        for _, pixels, draws, colour in batches_of(split, first, rows, batch_on(device), device):
            yield len(pixels), (pixels, draws, colour)

    def pooled(decoded: Any) -> list[NDArray[np.floating[Any]]]:
        return [found.numpy() for found in rows_of(readers, *decoded)]

    found: list[list[NDArray[np.floating[Any]]]] = []
    seen = watch_extraction(
        batches, pooled, found.append, len(split.paths), seconds, device, first.trunk.workers
    )
    samples = [np.concatenate(one) for one in zip(*found)]
    images = sum(len(splits[name].paths) for name in ("train", "val"))
    size = sum(reader.width * BYTES[reader.item.dtype] for reader in readers)
    return row_of(first.key, first.stage, images, size, seen), samples

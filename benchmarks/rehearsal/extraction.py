"""An extraction for some seconds: loader alone, trunk alone, both; and features for the fits."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.backbones.pooling import pool
from benchmarks.datasets.loading import load_dataset
from benchmarks.devices import computing, resolve_device
from benchmarks.features.extraction import BATCH, ExtractVoc
from benchmarks.images.batches import Images
from benchmarks.images.transforms import build_transform
from benchmarks.probes.frozen import FrozenTrunk
from benchmarks.rehearsal.report import GIB, Row, Speeds
from benchmarks.rehearsal.watch import CPU_PIECE, Enough, Watch, begin_item, gpu_gib, host_gib

LOADER, TRUNK, BOTH = 0.25, 0.25, 0.5  # shares of the time
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
    rows = np.arange(len(split.paths))

    def pooled(pixels: Tensor) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode(), computing(device, frozen.precision):
            found = pool(frozen.backbone(pixels), item.pooled_size)
        return {tap: values.float().cpu().numpy() for tap, values in found.items()}

    batch = CPU_PIECE if device.type == "cpu" else BATCH
    wave = batch * max(1, trunk.workers)  # the first batches of all workers come at once
    loader = Watch(seconds * LOADER, device, wave)
    alone, both = Watch(seconds * TRUNK, device), Watch(seconds * BOTH, device)
    kept = None
    # From the last image back: the first ones are not to be in the machine's memory already.
    loader.start()
    try:
        for pixels, _ in images.batches(0, 0, rows[::-1].copy(), batch):
            kept = pixels if kept is None else kept
            loader.update(len(pixels))
    except Enough:
        pass
    loader.end()
    assert kept is not None
    idle = host_gib()
    alone.start()
    try:
        for _ in range(-(-len(rows) // batch)):
            pooled(kept)
            alone.update(len(kept))
    except Enough:
        pass
    alone.end()
    parts: dict[str, list[NDArray[np.float32]]] = {}
    both.start()
    try:
        for pixels, _ in images.batches(0, 0, rows, batch):
            for tap, values in pooled(pixels).items():
                parts.setdefault(tap, []).append(values)
            both.update(len(pixels))
    except Enough:
        pass
    both.end()
    sample = Sample({tap: np.concatenate(found) for tap, found in parts.items()})
    count = sum(len(one.paths) for one in splits.values())
    width = sum(values.shape[1] for values in sample.features.values())
    speeds = Speeds(loader=loader.images_per_s, trunk=alone.images_per_s, images=both.images_per_s)
    host = max(watch.host_gib for watch in (loader, alone, both))
    known = ("host_gib",) if batch == BATCH else ()  # else worked out from smaller batches
    row = Row(
        name=item.key,
        stage=item.stage,
        images=count,
        epochs=1,
        speeds=speeds,
        host_gib=host + max(0.0, alone.host_gib - idle) * (BATCH / batch - 1),
        gpu_gib=gpu_gib(device),
        disk_gib=count * width * FLOAT32 / GIB,
        measured=("speeds.loader", "speeds.trunk", "speeds.images", "gpu_gib", *known),
        estimated=("hours", "disk_gib", *(() if known else ("host_gib",))),
    )
    return row, sample

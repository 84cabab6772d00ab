"""Images that pass trunks for some seconds: loader alone, trunks alone, both."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.features.extraction import BATCH
from benchmarks.rehearsal.report import GIB, Row, Speeds
from benchmarks.rehearsal.watch import CPU_PIECE, Enough, Watch, gpu_gib, host_gib

LOADER, TRUNK, BOTH = 0.25, 0.25, 0.5  # shares of the time

P = TypeVar("P")  # pixels of a batch, and all that comes with them
F = TypeVar("F")  # its features


class Watched(NamedTuple):
    """What was seen of an extraction."""

    speeds: Speeds
    host_gib: float
    gpu_gib: float | None
    measured: bool  # whether the memory was: else it is worked out from smaller batches


def batch_on(device: torch.device) -> int:
    """How many images pass a trunk at once in a rehearsal."""
    return CPU_PIECE if device.type == "cpu" else BATCH


def watch_extraction(
    batches: Callable[[NDArray[np.int64]], Iterator[tuple[int, P]]],
    compute: Callable[[P], F],
    keep: Callable[[F], object],
    count: int,
    seconds: float,
    device: torch.device,
    workers: int,
) -> Watched:
    """Pass some of `count` images through trunks, and `keep` the features of the first ones.

    `batches` gives for rows of images, batch after batch, their number and what `compute` takes.
    """
    rows = np.arange(count)
    batch = batch_on(device)
    wave = batch * max(1, workers)  # the first batches of all workers come at once
    loader = Watch(seconds * LOADER, device, wave)
    alone, both = Watch(seconds * TRUNK, device), Watch(seconds * BOTH, device)
    kept: Any = None
    # From the last image back: the first ones are not to be in the machine's memory already.
    loader.start()
    with suppress(Enough):
        for images, pixels in batches(rows[::-1].copy()):
            kept = (images, pixels) if kept is None else kept
            loader.update(images)
    loader.end()
    assert kept is not None
    idle = host_gib()
    alone.start()
    with suppress(Enough):
        for _ in range(-(-count // batch)):
            compute(kept[1])
            alone.update(kept[0])
    alone.end()
    both.start()
    with suppress(Enough):
        for images, pixels in batches(rows):
            keep(compute(pixels))
            both.update(images)
    both.end()
    host = max(watch.host_gib for watch in (loader, alone, both))
    return Watched(
        Speeds(loader=loader.images_per_s, trunk=alone.images_per_s, images=both.images_per_s),
        host + max(0.0, alone.host_gib - idle) * (BATCH / batch - 1),
        gpu_gib(device),
        batch == BATCH,
    )


def row_of(name: str, stage: str, images: int, file_bytes: int, seen: Watched) -> Row:
    """The row of an extraction that leaves so many bytes of features an image."""
    known = ("host_gib",) if seen.measured else ()
    return Row(
        name=name,
        stage=stage,
        images=images,
        epochs=1,
        speeds=seen.speeds,
        host_gib=seen.host_gib,
        gpu_gib=seen.gpu_gib,
        disk_gib=images * file_bytes / GIB,
        measured=("speeds.loader", "speeds.trunk", "speeds.images", "gpu_gib", *known),
        estimated=("hours", "disk_gib", *(() if known else ("host_gib",))),
    )

"""k-NN: a real search of some queries among some rows, and the votes of what it finds.

A block of rows takes as long as any other, and queries take their number's share of it: the time
is on a line in both, so that a part of each tells it.
"""

import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.datasets.loading import load_dataset
from benchmarks.devices import resolve_device
from benchmarks.knn.item import Knn
from benchmarks.knn.neighbours import BANK_ROWS, Neighbours, nearest
from benchmarks.knn.votes import vote_ranks
from benchmarks.rehearsal.features import Rows, Source
from benchmarks.rehearsal.report import GIB, Row
from benchmarks.rehearsal.watch import Watch, begin_item, gpu_gib

BLOCKS = 3  # of rows: the first bears what is done once
QUERIES = (256, 2048)  # and then twice as many, as long as there is time
FLOAT32 = 4  # bytes


class _Search(NamedTuple):
    """What some queries took."""

    queries: int
    seconds: float  # among all rows
    near: Neighbours


def knn_row(item: Knn, seconds: float, sample: Rows | None, folder: Path) -> Row:
    """Measure `item`; without a `sample` of its features on those that are on disk."""
    device = resolve_device(item.trunk.device)
    begin_item(device)
    protocol, source = item.protocol, Source(item.extraction, sample)
    train, val = source.images["train"], source.images["val"]
    k = max(protocol.ks)
    blocks = BLOCKS if k <= BANK_ROWS else BLOCKS + k // BANK_ROWS
    bank = source.rows("train", blocks * BANK_ROWS)
    watch = Watch(math.inf, device)
    watch.start()
    began = time.perf_counter()
    searches: list[_Search] = []
    nearest(bank, source.rows("val", QUERIES[0]), k, device)  # what a device does first
    while len(searches) < len(QUERIES) or time.perf_counter() - began < seconds / 2:
        known = searches[-1].queries if searches else 0
        if known == val:
            break
        wanted = QUERIES[len(searches)] if len(searches) < len(QUERIES) else 2 * known
        searches.append(_search(bank, source.rows("val", wanted), train, k, device))
    last = searches[-1]
    found = last.seconds
    if last.queries < val:
        before = searches[-2]
        slope = (last.seconds - before.seconds) / (last.queries - before.queries)
        found += (val - last.queries) * max(0.0, slope)
    votes = _votes(item, last.near, device) * val / last.queries
    watch.end()
    # Beyond what was measured: the other queries, and what is found of them.
    more = (val - last.queries) * (bank.shape[1] * FLOAT32 + 12 * k) / GIB
    gpu = gpu_gib(device)
    return Row(
        name=item.key,
        stage=item.stage,
        part_seconds=source.reading_seconds(folder) + found + votes,
        host_gib=watch.host_gib + (more if gpu is None else 0.0),
        gpu_gib=None if gpu is None else gpu + more,
        measured=("host_gib", "gpu_gib") if last.queries == val else (),
        estimated=(
            "hours",
            "part_seconds",
            *(() if last.queries == val else ("host_gib", "gpu_gib")),
        ),
        notes=(
            f"from {last.queries:,} of {val:,} queries among {len(bank):,} of {train:,} rows, on "
            f"{source.origin}",
        ),
    )


def _search(bank: Rows, queries: Rows, train: int, k: int, device: torch.device) -> _Search:
    """Of `queries` among the rows of `bank`, and by the time of a block among all `train`."""
    ticks: list[float] = []

    def tick(rows: int) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ticks.append(time.perf_counter())

    began = time.perf_counter()
    near = nearest(bank, queries, k, device, tick)
    seconds = ticks[-1] - began
    if len(bank) < train:
        a_row = (ticks[-1] - ticks[0]) / (len(bank) - BANK_ROWS)
        seconds += (train - len(bank)) * a_row
    return _Search(len(queries), seconds, near)


def _votes(item: Knn, near: Neighbours, device: torch.device) -> float:
    """Seconds of the votes by all temperatures."""
    protocol, extraction = item.protocol, item.extraction
    splits = load_dataset(extraction.dataset, extraction.data).splits
    labels = torch.from_numpy(splits["train"].labels.astype(np.int64)).to(device)
    truth = torch.from_numpy(splits["val"].labels[: len(near.rows)].astype(np.int64))
    classes = len(splits["train"].classes)
    temperatures = {*protocol.temperatures, protocol.temperature}
    began = time.perf_counter()
    vote_ranks(near, labels, truth, classes, protocol.ks, protocol.temperature)
    return (time.perf_counter() - began) * len(temperatures)

"""What a rehearsal finds: figures of each item and of all, and the arithmetic between them.

Where images pass a trunk, hours = passes x (epochs x images / the lowest of the three speeds of
training + evaluations x test_images / speeds.test_images); else parts x part_seconds. Everything
else is as it was measured, or says that it is an estimate. Hours that are a bound from below, and a
sum that leaves something out, are marked `at_least`, and no request stands beside them.
"""

import math
from collections.abc import Sequence

import msgspec

HOUR = 3600.0
GIB = 2**30
TIME_MARGIN = 1.5  # other machines, other users of the disk
FIXED_MINUTES = 5  # starting, loading the weights, reading the lists
MEMORY_MARGIN = 1.25


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What one task would ask of SLURM, with a margin."""

    gpus: int
    cpus_per_task: int
    mem_gb: int
    minutes: int


class Speeds(msgspec.Struct, frozen=True, kw_only=True):
    """Images a second of one process."""

    loader: float  # decoding alone
    trunk: float  # all computation alone, on images kept in memory
    images: float  # both at once, as in the real run
    test_loader: float | None = None  # decoding alone, of validation images
    test_images: float | None = None  # arithmetic; see `evaluation_speed`


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One item, or like parts of one benchmark that are items of their own."""

    name: str
    stage: str
    parts: int = 1  # tasks of a job array
    hours: float | None = None  # of all parts, one after another; None: this kind is not rehearsed
    images: int = 0  # of an epoch
    epochs: int = 0
    test_images: int = 0
    evaluations: int = 0
    passes: int = 1  # over all that, where a device does not hold all trunks at once
    speeds: Speeds | None = None
    part_seconds: float | None = None  # of a fit
    at_least: bool = False  # hours are a bound from below: it may take much longer
    host_gib: float = 0.0
    gpu_gib: float | None = None  # None: no GPU was used
    disk_gib: float = 0.0
    measured: tuple[str, ...] = ()  # fields of this row
    estimated: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    request: Request | None = None  # of one part


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """Of all items, one after another on this machine."""

    hours: float
    at_least: bool = False  # some items are not in the sums, or with a bound from below alone
    host_gib: float
    gpu_gib: float | None
    disk_gib: float
    request: Request | None  # None with `at_least`: what would fit is not known


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A rehearsal."""

    device: str  # as torch or the maker calls it
    cores: int
    workers: int
    seconds: float  # of measuring an item, at most
    done: int  # results that are there already, and cost nothing
    items: tuple[Row, ...]
    total: Total


def evaluation_speed(loader: float, trunk: float, images: float, test_loader: float) -> float:
    """Images a second of an evaluation, which is not measured: the slower of loader and trunk.

    What the two lose to each other when they share the cores is as in training.
    """
    return min(test_loader, trunk) * min(1.0, images / min(loader, trunk))


def hours_of(row: Row) -> float:
    """The arithmetic of the module's first lines."""
    if row.speeds is None:
        return row.parts * (row.part_seconds or 0.0) / HOUR
    speeds = row.speeds
    # Both at once are no faster than either: what was decoded while the trunk warmed up is no gain.
    seconds = row.epochs * row.images / min(speeds.images, speeds.loader, speeds.trunk)
    if speeds.test_images is not None:
        seconds += row.evaluations * row.test_images / speeds.test_images
    return row.passes * seconds / HOUR


def request_of(hours: float, host_gib: float, gpu_gib: float | None, cpus: int) -> Request:
    """What fits a task of so many hours."""
    return Request(
        gpus=int(gpu_gib is not None),
        cpus_per_task=cpus,
        mem_gb=math.ceil(host_gib * MEMORY_MARGIN) + 1,
        minutes=math.ceil(hours * 60 * TIME_MARGIN) + FIXED_MINUTES,
    )


def total_of(rows: Sequence[Row], cpus: int) -> Total:
    """All rows together."""
    hours = sum(row.hours or 0.0 for row in rows)
    host = max((row.host_gib for row in rows), default=0.0)
    gpu = max((row.gpu_gib for row in rows if row.gpu_gib is not None), default=None)
    disk = sum(row.disk_gib for row in rows)
    at_least = any(row.at_least or row.hours is None for row in rows)
    request = None if at_least else request_of(hours, host, gpu, cpus)
    return Total(
        hours=hours, at_least=at_least, host_gib=host, gpu_gib=gpu, disk_gib=disk, request=request
    )

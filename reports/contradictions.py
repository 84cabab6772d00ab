"""What does not fit within a record: figures outside 0..100, or at odds with each other."""

import math
import re
from collections.abc import Iterator, Sequence
from statistics import fmean, pstdev

from benchmarks.catalog.listed import BENCHMARKS
from benchmarks.results import (
    Head,
    LowShotRecord,
    ProbeRecord,
    Record,
    Shot,
    SvmLayer,
    VocSvmRecord,
)

_SHOT = re.compile(r"[1-9][0-9]{0,8}")


def faults(record: Record) -> Iterator[str]:
    """What cannot be in a record, each as `names ...` or `has ...`."""
    for name, figure in _figures(record):
        if not 0 <= figure <= 100:
            yield f"has a figure outside 0..100: {name} = {figure}"
    counts = [("seed", record.seed)]
    for name, split in record.data.items():
        counts += [(f"images of {name}", split.images), (f"classes of {name}", split.classes)]
    for name, value in counts:
        if value < 0:
            yield f"has a negative number: {name} = {value}"
    yield from _contradictions(record)


def _contradictions(record: Record) -> Iterator[str]:
    """What does not fit within a record, each as `names ...` or `has ...`."""
    if isinstance(record, VocSvmRecord):
        best = max((layer.map for layer in record.layers.values()), default=None)
        named = record.layers.get(record.best_layer)
        if best is None or named is None or named.map != best:
            yield f"names {record.best_layer!r} as best layer, which it is not"
        for name, layer in record.layers.items():
            yield from _svm_contradictions(f"in layer {name!r}", layer, len(record.classes))
    elif isinstance(record, LowShotRecord):
        shots = [
            (name, *shot) for name, layer in record.layers.items() for shot in layer.shots.items()
        ]
        wrong = [k[:20] for _, k, _ in shots if not _SHOT.fullmatch(k)]
        if wrong or not shots:
            yield f"has no shots, or one that is no number: {wrong[:1]}"
        for name, k, shot in shots:
            yield from _shot_contradictions(f"in layer {name!r} at k={k}", shot)
    elif isinstance(record, ProbeRecord):
        if not record.heads:
            yield "has no heads"
        evaluated = record.evaluated or range(1, record.epochs + 1)
        rising = all(a < b for a, b in zip((0, *record.evaluated), record.evaluated))
        if not 1 <= record.epochs < 10**6 or not rising or evaluated[-1] != record.epochs:
            yield f"has {record.epochs} epochs, which its evaluated epochs do not end with"
        for name, head in record.heads.items():
            yield from _head_contradictions(f"in head {name!r}", head, evaluated)
        yield from _grid_contradictions(record, evaluated)


def _svm_contradictions(where: str, layer: SvmLayer, classes: int) -> Iterator[str]:
    for name, values in (("ap", layer.ap), ("cost", layer.cost), ("cv_ap", layer.cv_ap)):
        if len(values) != classes or not values:
            yield f"has {len(values)} values of {name} {where}, of {classes} classes"
    if layer.ap and not _same(layer.map, fmean(layer.ap)):
        yield f"has map = {layer.map} {where}, but the mean of its ap is {fmean(layer.ap)}"


def _shot_contradictions(where: str, shot: Shot) -> Iterator[str]:
    cost = repr(shot.cost)
    draws = shot.by_cost.get(cost) or shot.by_cost.get(cost.removesuffix(".0"))
    if not draws:
        yield f"has no by_cost of its cost {shot.cost} {where}"
        return
    found = {"mean": fmean(draws), "min": min(draws), "max": max(draws), "std": pstdev(draws)}
    for name, value in found.items():
        if not _same(getattr(shot, name), value):
            yield f"has {name} = {getattr(shot, name)} {where}, but its by_cost gives {value}"


def _head_contradictions(where: str, head: Head, evaluated: Sequence[int]) -> Iterator[str]:
    by_epoch = head.top1_by_epoch
    if len(by_epoch) != len(evaluated) or not by_epoch:
        yield f"has {len(by_epoch)} values of top1_by_epoch {where}, of {len(evaluated)} epochs"
        return
    if not _same(head.top1, by_epoch[-1]):
        yield f"has top1 = {head.top1} {where}, but top1_by_epoch ends with {by_epoch[-1]}"
    if head.top5 < head.top1 and not _same(head.top5, head.top1):
        yield f"has top5 = {head.top5} {where}, less than top1 = {head.top1}"
    at_best = dict(zip(evaluated, by_epoch)).get(head.best_epoch)
    if at_best is None or not _same(head.best_top1, at_best) or not _same(at_best, max(by_epoch)):
        yield (
            f"has best_top1 = {head.best_top1} of epoch {head.best_epoch} {where}, "
            f"but the best of top1_by_epoch is {max(by_epoch)}"
        )


def _grid_contradictions(record: ProbeRecord, evaluated: Sequence[int]) -> Iterator[str]:
    """The protocol's own point holds the protocol's own figures."""
    seen = set()
    for point in record.grid:
        numbers = (point.learning_rate, point.weight_decay)
        where = f"at learning rate {numbers[0]}, weight decay {numbers[1]}"
        if numbers in seen:
            yield f"has two points {where}"
        seen.add(numbers)
        if {*point.heads, *point.diverged} != record.heads.keys() or (
            point.heads.keys() & point.diverged.keys()
        ):
            yield f"has other heads {where} than those of the protocol"
        for name, head in point.heads.items():
            yield from _head_contradictions(f"in head {name!r} {where}", head, evaluated)
        own = tuple(record.settings.get(name) for name in ("learning_rate", "weight_decay"))
        if numbers == own and point.heads != record.heads:
            yield f"has other figures {where} than the protocol's own heads"


def _same(a: float, b: float) -> bool:
    """Whether two figures are one, but for the order in which numbers were added."""
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)


def _figures(record: Record) -> Iterator[tuple[str, float]]:
    """All percent values of a record."""
    if isinstance(record, VocSvmRecord):
        for name, layer in record.layers.items():
            yield f"{name} map", layer.map
            yield from ((f"{name} ap", value) for value in layer.ap)
            yield from ((f"{name} cv_ap", value) for row in layer.cv_ap for value in row)
    elif isinstance(record, LowShotRecord):
        for name, low_shot in record.layers.items():
            for k, shot in low_shot.shots.items():
                drawn = (value for draws in shot.by_cost.values() for value in draws)
                values = (shot.min, shot.mean, shot.max, shot.std, *drawn)
                yield from ((f"{name} k={k[:20]}", value) for value in values)
    elif isinstance(record, ProbeRecord):
        heads = [one for point in record.grid for one in point.heads.items()]
        for name, head in (*record.heads.items(), *heads):
            yield from ((f"{name} top-1", value) for value in (head.top1, head.best_top1))
            yield from ((f"{name} top-1", value) for value in head.top1_by_epoch)
            yield from ((f"{name} top-5", value) for value in (head.top5, head.best_top5 or 0))
    elif figures := BENCHMARKS[record.benchmark].figures:
        yield from figures(record).items()

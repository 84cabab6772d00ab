"""What does not fit within a record: figures outside 0..100, or at odds with each other."""

import math
import re
from collections.abc import Iterator, Sequence
from statistics import fmean, pstdev

from benchmarks.catalog.listed import BENCHMARKS
from benchmarks.knn.record import KnnRecord
from benchmarks.logreg.record import FewLabels, LogregRecord, PathPoint, percent_name
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
_PART = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?(e-[0-9]{1,3})?")  # of the labels, as 0.01 or 1e-05


def faults(record: Record) -> Iterator[str]:
    """What cannot be in a record, each as `names ...` or `has ...`."""
    for name, figure in figures(record):
        if not 0 <= figure <= 100:
            yield f"has a figure outside 0..100: {name} = {figure}"
    counts = [("seed", record.seed)]
    for name, split in record.data.items():
        counts += [(f"images of {name}", split.images), (f"classes of {name}", split.classes)]
    if isinstance(record, KnnRecord | LogregRecord):
        counts.append(("dimensions", record.dimensions))
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
    elif isinstance(record, KnnRecord):
        yield from _knn_contradictions(record)
    elif isinstance(record, LogregRecord):
        yield from _logreg_contradictions(record)


def _svm_contradictions(where: str, layer: SvmLayer, classes: int) -> Iterator[str]:
    for name, values in (("ap", layer.ap), ("cost", layer.cost), ("cv_ap", layer.cv_ap)):
        if len(values) != classes or not values:
            yield f"has {len(values)} values of {name} {where}, of {classes} classes"
    if layer.ap and not same(layer.map, fmean(layer.ap)):
        yield f"has map = {layer.map} {where}, but the mean of its ap is {fmean(layer.ap)}"


def _shot_contradictions(where: str, shot: Shot) -> Iterator[str]:
    cost = repr(shot.cost)
    draws = shot.by_cost.get(cost) or shot.by_cost.get(cost.removesuffix(".0"))
    if not draws:
        yield f"has no by_cost of its cost {shot.cost} {where}"
        return
    found = {"mean": fmean(draws), "min": min(draws), "max": max(draws), "std": pstdev(draws)}
    for name, value in found.items():
        if not same(getattr(shot, name), value):
            yield f"has {name} = {getattr(shot, name)} {where}, but its by_cost gives {value}"


def _head_contradictions(where: str, head: Head, evaluated: Sequence[int]) -> Iterator[str]:
    by_epoch = head.top1_by_epoch
    if len(by_epoch) != len(evaluated) or not by_epoch:
        yield f"has {len(by_epoch)} values of top1_by_epoch {where}, of {len(evaluated)} epochs"
        return
    if not same(head.top1, by_epoch[-1]):
        yield f"has top1 = {head.top1} {where}, but top1_by_epoch ends with {by_epoch[-1]}"
    yield from _top5_contradictions(where, head.top1, head.top5)
    at_best = dict(zip(evaluated, by_epoch)).get(head.best_epoch)
    if at_best is None or not same(head.best_top1, at_best) or not same(at_best, max(by_epoch)):
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


def _knn_contradictions(record: KnnRecord) -> Iterator[str]:
    wrong = [k[:20] for k in record.k if not _SHOT.fullmatch(k)]
    if wrong or not record.k:
        yield f"has no k, or one that is no whole number from 1: {wrong[:1]}"
        return
    for k, one in record.k.items():
        yield from _top5_contradictions(f"at k={k}", one.top1, one.top5)
    by_temperature = {_number(name): row for name, row in record.grid.items()}
    row = by_temperature.get(record.temperature)
    if row is None:
        yield f"has no grid of its temperature {record.temperature}"
        return
    if any(one.keys() != record.k.keys() for one in by_temperature.values()):
        yield "has a grid of other k than its own"
        return
    for k, one in record.k.items():
        if not same(one.top1, row[k]):
            yield f"has top1 = {one.top1} at k={k}, but its grid has {row[k]}"


def _logreg_contradictions(record: LogregRecord) -> Iterator[str]:
    wrong = [k[:20] for k in record.shots if not _SHOT.fullmatch(k)]
    if wrong:
        yield f"has shots that are no whole number from 1: {wrong[:1]}"
    parts = [_number(name) if _PART.fullmatch(name) else None for name in record.fractions]
    wrong = [name[:20] for name, part in zip(record.fractions, parts) if not 0 < (part or 0) <= 1]
    if wrong:
        yield f"has fractions that are no part of the labels between 0 and 1: {wrong[:1]}"
    elif len({percent_name(part) for part in parts if part is not None}) < len(parts):
        yield "has two fractions that are one"
    yield from _top5_contradictions("", record.top1, record.top5)
    point = next((one for one in record.path if one.cost == record.cost), None)
    if point is None:
        yield f"has no point in its path of its cost {record.cost}"
        return
    if not same(record.top1, point.top1):
        yield f"has top1 = {record.top1}, but its path at its cost {record.cost} has {point.top1}"
    best = max(one.held_out_top1 for one in record.path)
    if not same(point.held_out_top1, best):
        yield f"has cost = {record.cost}, which is not the best on the held-out images"
    few = [(f"{k}-shot", one) for k, one in record.shots.items()]
    for name, one in (*few, *((f"of {part}", one) for part, one in record.fractions.items())):
        yield from _few_contradictions(f"in the row {name[:20]}", one, record.path)


def _few_contradictions(where: str, few: FewLabels, path: Sequence[PathPoint]) -> Iterator[str]:
    """Of the fits on few labels: their draws, and the cost, which is one of those of `path`."""
    if not few.top1:
        yield f"has no top1 {where}"
        return
    found = {"mean": fmean(few.top1), "min": min(few.top1), "max": max(few.top1)}
    for name, value in (found | {"std": pstdev(few.top1)}).items():
        if not same(getattr(few, name), value):
            yield f"has {name} = {getattr(few, name)} {where}, but its top1 gives {value}"
    if len(few.held_out_by_cost) != len(path):
        yield f"has {len(few.held_out_by_cost)} values of held_out_by_cost {where}, of {len(path)}"
        return
    held_out = {one.cost: value for one, value in zip(path, few.held_out_by_cost)}
    best = max(few.held_out_by_cost)
    if few.cost not in held_out or not same(held_out[few.cost], best):
        yield f"has cost = {few.cost} {where}, which is not the best on the held-out images"
    if few.labels < 1:
        yield f"has labels = {few.labels} {where}"


def _top5_contradictions(where: str, top1: float, top5: float) -> Iterator[str]:
    if top5 < top1 and not same(top5, top1):
        yield f"has top5 = {top5}{where and f' {where}'}, less than top1 = {top1}"


def _number(text: str) -> float | None:
    """The number that a key spells; None for one that is none."""
    try:
        return float(text)
    except ValueError:
        return None


def same(a: float, b: float) -> bool:
    """Whether two figures are one, but for the order in which numbers were added."""
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)


def figures(record: Record) -> Iterator[tuple[str, float]]:
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
    elif isinstance(record, KnnRecord):
        for k, one in record.k.items():
            yield from ((f"k={k[:20]} {top}", getattr(one, top)) for top in ("top1", "top5"))
        for temperature, row in record.grid.items():
            yield from ((f"grid {temperature[:20]} k={k[:20]}", value) for k, value in row.items())
    elif isinstance(record, LogregRecord):
        yield from (("top1", record.top1), ("top5", record.top5))
        for point in record.path:
            values = (point.held_out_top1, point.top1)
            yield from ((f"path at {point.cost}", value) for value in values)
        for name, few in (*record.shots.items(), *record.fractions.items()):
            values = (few.mean, few.min, few.max, few.std, *few.top1, *few.held_out_by_cost)
            yield from ((f"few labels {name[:20]}", value) for value in values)
    elif shown := BENCHMARKS[record.benchmark].figures:
        yield from shown(record).items()

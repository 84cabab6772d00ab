"""The result records and checkpoint cards of a zoo, each checked before a figure is used.

Records lie at `results/NAME/BENCHMARK/PROTOCOL-KEY.json`; what lies deeper are parts of them.
Whatever stands in a record's place and is not a record is named: it is an error, or left out
when that is asked for. Two records that claim the same cell are always an error.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev

import msgspec

from benchmarks import results
from benchmarks.checkpoints.cards import Card, card_path
from benchmarks.protocols import ADDED, LinearProtocol, LowShotProtocol, SvmProtocol
from benchmarks.results import (
    Head,
    LowShotRecord,
    ProbeRecord,
    Record,
    Shot,
    SvmLayer,
    VocSvmRecord,
)
from slurm.cli import choose
from slurm.errors import UserError

# Settings that are no field of a protocol are of one run, but for `decode`, with which pixels are
# others; `shots` only says which cells there are.
SETTINGS = {
    setting.name
    for protocol in (LinearProtocol, SvmProtocol, LowShotProtocol)
    for setting in dataclasses.fields(protocol)
} - {"shots"} | {"decode"}
_SHOT = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Found:
    """A record and the file that it was read from."""

    path: Path
    record: Record


@dataclass(frozen=True)
class Collection:
    """Everything that the tables of a zoo are made from."""

    zoo: Path
    found: tuple[Found, ...]  # in the order of the rows
    cards: dict[str, Card] = field(default_factory=dict)  # of the checkpoints in `found`
    skipped: tuple[str, ...] = ()  # why a file was left out, one line each


def by_name(found: Iterable[Found]) -> dict[str, list[Found]]:
    """Records by checkpoint, both in the order given."""
    groups: dict[str, list[Found]] = {}
    for item in found:
        groups.setdefault(item.record.checkpoint.name, []).append(item)
    return groups


def collect(zoo: Path, names: Sequence[str] = (), skip_invalid: bool = False) -> Collection:
    """Read a zoo: all checkpoints by name, or `names` in their order.

    `UserError` names the first file that is not a valid record; with `skip_invalid` such files
    are listed in `skipped` instead, as are, always, records of a registered checkpoint's earlier
    weights. Clashes are errors in either case.
    """
    if not zoo.is_dir():
        raise UserError(f"there is no zoo at {zoo}; name its directory with --zoo")
    skipped: list[str] = []

    def reject(error: UserError) -> None:
        if not skip_invalid:
            hint = "mend or remove it, or leave it out with --skip-invalid"
            raise UserError(f"{error}; {hint}") from error
        skipped.append(str(error))

    found: list[Found] = []
    for path in _record_paths(zoo, reject):
        try:
            record = results.read_record(path)
            _check(path, record)
        except UserError as error:
            reject(error)
        else:
            found.append(Found(path, record))

    cards: dict[str, Card] = {}
    for name in by_name(found):
        try:
            path = card_path(zoo, name)
            if path.exists():
                cards[name] = results.read(path, Card)
        except UserError as error:
            reject(error)
    current = [item for item in found if not _is_superseded(item, cards)]
    skipped += [
        f"{item.path} is of earlier weights of {item.record.checkpoint.name}"
        for item in found
        if _is_superseded(item, cards)
    ]

    refuse_clashes(current)
    ordered = _in_order(current, names)
    shown = {item.record.checkpoint.name for item in ordered}
    return Collection(
        zoo,
        tuple(ordered),
        {name: card for name, card in cards.items() if name in shown},
        tuple(skipped),
    )


def measurement(record: Record) -> bytes:
    """What two records must share so that their figures may share a column."""
    before = ADDED if isinstance(record, ProbeRecord) else {}
    settings = {key: value for key, value in record.settings.items() if key in SETTINGS}
    settings = before | settings
    alike = (record.variant, record.protocol, record.protocol_version, settings, record.data)
    return msgspec.json.encode(alike, order="deterministic")


def refuse_clashes(found: Sequence[Found]) -> None:
    """`UserError` with both paths where two records claim one cell or mix two networks."""
    cells: dict[tuple[object, ...], Found] = {}
    weights: dict[tuple[object, ...], Found] = {}
    for item in found:
        record = item.record
        cell = (record.checkpoint.name, record.benchmark, record.seed, measurement(record))
        other = cells.setdefault(cell, item)
        if other is not item:
            raise UserError(
                f"{other.path} and {item.path} both claim {record.benchmark} of "
                f"{record.checkpoint.name} (protocol {record.protocol}, seed {record.seed}): "
                "remove the one that is out of date"
            )
        # A random trunk is another network for each seed; everything else is one network.
        seed = record.seed if record.checkpoint.weights.startswith("random:") else None
        other = weights.setdefault((record.checkpoint.name, seed), item)
        if other.record.checkpoint.weights != record.checkpoint.weights:
            raise UserError(
                f"{other.path} and {item.path} are of different weights under the one name "
                f"{record.checkpoint.name}: remove the one that is out of date"
            )


def _record_paths(zoo: Path, reject: Callable[[UserError], None]) -> Iterator[Path]:
    root = zoo / "results"
    for path in sorted(root.glob("*/*.json")):
        if path.is_file():
            reject(UserError(f"{path} is not in a record's place, results/NAME/BENCHMARK/"))
    for path in sorted(root.glob("*/*/*.json")):
        if path.is_file():
            yield path


def _check(path: Path, record: Record) -> None:
    """Refuse a record that lies in another's place or contradicts itself."""
    if record.benchmark != path.parent.name or record.checkpoint.name != path.parent.parent.name:
        raise UserError(
            f"{path} holds {record.benchmark} of {record.checkpoint.name!r}, "
            "which is not what its place says"
        )
    for name, figure in _figures(record):
        if not 0 <= figure <= 100:
            raise UserError(f"{path} has a figure outside 0..100: {name} = {figure}")
    counts = [("seed", record.seed)]
    for name, split in record.data.items():
        counts += [(f"images of {name}", split.images), (f"classes of {name}", split.classes)]
    for name, value in counts:
        if value < 0:
            raise UserError(f"{path} has a negative number: {name} = {value}")
    if problem := next(_contradictions(record), None):
        raise UserError(f"{path} {problem}")


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
        for name, head in record.heads.items():
            yield from ((f"{name} top-1", value) for value in (head.top1, head.best_top1))
            yield from ((f"{name} top-1", value) for value in head.top1_by_epoch)
            yield f"{name} top-5", head.top5


def _is_superseded(item: Found, cards: dict[str, Card]) -> bool:
    """Whether the record's name has been given to other weights since."""
    checkpoint = item.record.checkpoint
    return checkpoint.name in cards and cards[checkpoint.name].weights != checkpoint.weights


def _in_order(found: Sequence[Found], names: Sequence[str]) -> list[Found]:
    known = sorted({item.record.checkpoint.name for item in found})
    order = {choose(name, known, "checkpoint in the results"): i for i, name in enumerate(names)}
    if not order:
        order = {name: i for i, name in enumerate(known)}
    chosen = [item for item in found if item.record.checkpoint.name in order]
    return sorted(
        chosen,
        key=lambda item: (
            order[item.record.checkpoint.name],
            item.record.benchmark,
            item.record.variant,
            item.record.seed,
            str(item.path),
        ),
    )

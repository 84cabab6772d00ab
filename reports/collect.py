"""The result records and checkpoint cards of a zoo, each checked before a figure is used.

Records lie at `results/NAME/BENCHMARK/PROTOCOL-KEY.json`; what lies deeper are parts of them.
Whatever stands in a record's place and is not a record is named: it is an error, or left out
when that is asked for. Two records that claim the same cell are always an error.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks import results
from benchmarks.catalog.records import read_record
from benchmarks.checkpoints.cards import Card, card_path
from benchmarks.checkpoints.fit import what_differs, why_outdated
from benchmarks.knn.record import KnnRecord
from benchmarks.logreg.record import LogregRecord
from benchmarks.protocols import (
    ADDED,
    ADDED_ON_FEATURES,
    KnnProtocol,
    LinearProtocol,
    LogregProtocol,
    LowShotProtocol,
    SvmProtocol,
)
from benchmarks.results import ProbeRecord, Record
from reports.contradictions import faults
from slurm.cli import choose
from slurm.errors import UserError

# Settings that are no field of a protocol are of one run; `shots` only says which cells there are.
SETTINGS = {
    setting.name
    for protocol in (LinearProtocol, SvmProtocol, LowShotProtocol, KnnProtocol, LogregProtocol)
    for setting in dataclasses.fields(protocol)
} - {"shots"} | {"decode"}


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


def collect(
    zoo: Path,
    names: Sequence[str] = (),
    skip_invalid: bool = False,
    variants: Sequence[str] = (),
) -> Collection:
    """Read a zoo: all checkpoints by name, or `names` in their order; all `variants`, or these.

    `UserError` names the first file that is not a valid record; with `skip_invalid` such files
    are listed in `skipped` instead, as are, always, records of what a registered checkpoint was
    before: of other weights, architecture, mean or std. Clashes are errors in either case.
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
    for path in _record_paths(zoo, reject, skipped):
        try:
            record = read_record(path)
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
    reasons = [_why_outdated(item, cards) for item in found]
    current = [item for item, reason in zip(found, reasons) if reason is None]
    skipped += [f"{item.path} {reason}" for item, reason in zip(found, reasons) if reason]

    refuse_clashes(current)
    ordered = _of_variants(_in_order(current, names), variants)
    shown = {item.record.checkpoint.name for item in ordered}
    return Collection(
        zoo,
        tuple(ordered),
        {name: card for name, card in cards.items() if name in shown},
        tuple(skipped),
    )


def measurement(record: Record) -> bytes:
    """What two records must share so that their figures may share a column."""
    settings = {key: value for key, value in record.settings.items() if key in SETTINGS}
    settings = settings_before(record) | settings
    alike = (record.variant, record.protocol, record.protocol_version, settings, record.data)
    return msgspec.json.encode(alike, order="deterministic")


def settings_before(record: Record) -> dict[str, object]:
    """What stands for settings that came after older records had been written."""
    if isinstance(record, ProbeRecord):  # as JSON has them, which has no tuples
        return {name: list(one) if isinstance(one, tuple) else one for name, one in ADDED.items()}
    return dict(ADDED_ON_FEATURES) if isinstance(record, KnnRecord | LogregRecord) else {}


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
        if differs := what_differs(other.record.checkpoint, record.checkpoint):
            raise UserError(
                f"{other.path} and {item.path} are of different {differs} under the one name "
                f"{record.checkpoint.name}: remove the one that is out of date"
            )


def _record_paths(
    zoo: Path, reject: Callable[[UserError], None], skipped: list[str]
) -> Iterator[Path]:
    root = zoo / "results"
    # Hidden folders are what other commands make or remove just now.
    for path in sorted(root.glob("[!.]*/*.json")):
        if path.is_file():
            reject(UserError(f"{path} is not in a record's place, results/NAME/BENCHMARK/"))
    for path in sorted(root.glob("[!.]*/*/*.json")):
        if path.is_file():
            yield path
        elif what := _what_else(path):
            skipped.append(f"{path} is {what}, and no record")


def _what_else(path: Path) -> str | None:
    """What stands in the place of a file; None where it is gone by now."""
    if path.is_dir():
        return "a folder"
    if path.is_symlink():
        return "a link that leads to no file"
    return "a pipe, a socket or a device" if path.exists() else None


def _check(path: Path, record: Record) -> None:
    """Refuse a record that lies in another's place or contradicts itself."""
    if record.benchmark != path.parent.name or record.checkpoint.name != path.parent.parent.name:
        raise UserError(
            f"{path} holds {record.benchmark} of {record.checkpoint.name!r}, "
            "which is not what its place says"
        )
    if fault := next(faults(record), None):
        raise UserError(f"{path} {fault}")


def _why_outdated(item: Found, cards: dict[str, Card]) -> str | None:
    """Why the record is not of what its name stands for now, or None."""
    card = cards.get(item.record.checkpoint.name)
    return why_outdated(item.record.checkpoint, card) if card else None


def _of_variants(found: Sequence[Found], variants: Sequence[str]) -> list[Found]:
    known = sorted({item.record.variant for item in found})
    wanted = {choose(name, known, "variant in the results") for name in variants}
    return [item for item in found if not wanted or item.record.variant in wanted]


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

"""The result records and checkpoint cards of a zoo, each checked before a figure is used.

Records lie at `results/NAME/BENCHMARK/PROTOCOL-KEY.json`; what lies deeper are parts of them.
Whatever stands in a record's place and is not a record is named: it is an error, or left out
when that is asked for. Of two records that claim the same cell the fuller one is shown, or each in
a table of its own where they were measured otherwise; else they are always an error.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from benchmarks import results
from benchmarks.catalog.records import read_record
from benchmarks.checkpoints.cards import Card, card_path
from benchmarks.checkpoints.fit import why_outdated
from benchmarks.results import Record
from reports.clashes.alike import (
    agree,
    conditions,
    contradiction,
    differing,
    figures_by_name,
    holds,
    measurement,
)
from reports.clashes.joined import join, may_be_joined
from reports.clashes.networks import refuse_mixed_networks
from reports.contradictions import faults
from slurm.cli import choose
from slurm.errors import UserError


@dataclass(frozen=True)
class Found:
    """A record and the file that it was read from."""

    path: Path
    record: Record
    apart: tuple[str, ...] = ()  # conditions that tell its table from another of its measurement
    joined: tuple["Found", ...] = ()  # of which the record is joined, itself before that the first

    @property
    def measurement(self) -> bytes:
        """What two records must share so that their figures may share a column."""
        here = conditions(self.record)
        return measurement(self.record) + "".join(f" {here[name]}" for name in self.apart).encode()


@dataclass(frozen=True)
class Collection:
    """Everything that the tables of a zoo are made from."""

    zoo: Path
    found: tuple[Found, ...]  # in the order of the rows
    cards: dict[str, Card] = field(default_factory=dict)  # of the checkpoints in `found`
    skipped: tuple[str, ...] = ()  # why a file was left out, one line each


def say_left_out(found: Collection) -> None:
    """Name on standard error each file that was left out."""
    for line in found.skipped:
        print(f"left out: {line}", file=sys.stderr)


def originals(found: Iterable[Found]) -> list[Found]:
    """The records as they lie in the zoo, of joined ones those that they are joined of."""
    return [one for item in found for one in item.joined or (item,)]


def by_name(found: Iterable[Found]) -> dict[str, list[Found]]:
    """Records by checkpoint, both in the order given."""
    groups: dict[str, list[Found]] = {}
    for item in found:
        groups.setdefault(item.record.checkpoint.name, []).append(item)
    return groups


def chosen(found: Sequence[Found], seeds: bool) -> list[Found]:
    """The records behind a cell: all seeds, or the lowest one."""
    lowest = min(item.record.seed for item in found)
    return [item for item in found if seeds or item.record.seed == lowest]


def shown_records(found: Sequence[Found], seeds: bool) -> list[Found]:
    """The records behind the cells of one part: of each row all seeds, or the lowest one."""
    return [item for items in by_name(found).values() for item in chosen(items, seeds)]


def collect(
    zoo: Path,
    names: Sequence[str] = (),
    skip_invalid: bool = False,
    variants: Sequence[str] = (),
) -> Collection:
    """Read a zoo: all checkpoints by name, or `names` in their order; all `variants`, or these.

    `UserError` names the first file that is not a valid record; with `skip_invalid` such files
    are listed in `skipped` instead, as are, always, records of what a registered checkpoint was
    before: of other weights, architecture, mean or std; and those that hold no more than another
    one does. Clashes are errors in either case.
    """
    if not zoo.is_dir():
        raise UserError(f"there is no zoo at {zoo}; name its directory with --zoo")
    skipped: list[str] = []
    unused: dict[str, list[str]] = {}  # by checkpoint: why its records are left out

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
            unused.setdefault(path.parent.parent.name, []).append("is no valid record")
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
    outdated = [(item, reason) for item, reason in zip(found, reasons) if reason is not None]
    skipped += [f"{item.path} {reason}" for item, reason in outdated]
    for item, reason in outdated:
        unused.setdefault(item.record.checkpoint.name, []).append(reason)

    refuse_mixed_networks([(item.path, item.record) for item in current])
    settled, lesser = settle_clashes(current)
    skipped += lesser
    ordered = _in_order(settled, names, unused)
    unused = {}  # by variant now, of the checkpoints that are asked for
    for item, reason in outdated:
        if not names or item.record.checkpoint.name in names:
            unused.setdefault(item.record.variant, []).append(reason)
    ordered = _of_variants(ordered, variants, unused)
    shown = {item.record.checkpoint.name for item in ordered}
    return Collection(
        zoo,
        tuple(ordered),
        {name: card for name, card in cards.items() if name in shown},
        tuple(skipped),
    )


def settle_clashes(found: Sequence[Found]) -> tuple[list[Found], list[str]]:
    """What is left where several records claim one cell, and a line for each that is not.

    Of two that were measured alike the one with more layers or k is left, or one of both together
    where neither has all of the other. Where two were measured otherwise all records of their
    measurement are told apart by that. `UserError` with both paths where figures contradict each
    other.
    """
    claims: dict[tuple[str, bytes, str, int], list[Found]] = {}
    for item in found:
        record = item.record
        cell = (record.benchmark, measurement(record), record.checkpoint.name, record.seed)
        claims.setdefault(cell, []).append(item)
    lesser: dict[Path, str] = {}
    within: set[Path] = set()  # of which another has the figures now
    whole: dict[Path, Found] = {}
    apart: dict[tuple[str, bytes], set[str]] = {}
    for (benchmark, alike, _, _), items in claims.items():
        fuller: list[Found] = []
        for item in sorted(items, key=_fullest_first):
            for at, other in enumerate(fuller):
                if agree(other.record, item.record) and holds(other.record, item.record):
                    lesser[item.path] = f"{item.path} holds no more than {other.path}"
                    break
                if may_be_joined(other.record, item.record):
                    parts = (*(other.joined or (other,)), item)
                    fuller[at] = replace(
                        other, record=join(other.record, item.record), joined=parts
                    )
                    within.add(item.path)
                    break
            else:
                fuller.append(item)
        whole |= {item.path: item for item in fuller}
        names = {_apart(one, other) for one, other in combinations(fuller, 2)}
        apart.setdefault((benchmark, alike), set()).update(names)
    settled = [
        replace(
            whole[item.path], apart=tuple(sorted(apart[item.record.benchmark, item.measurement]))
        )
        for item in found
        if item.path not in lesser and item.path not in within
    ]
    return settled, list(lesser.values())


def _fullest_first(item: Found) -> tuple[object, ...]:
    count = sum(map(len, figures_by_name(item.record).values()))
    return (-count, item.record.outcomes is None, item.record.precision is None, str(item.path))


def _apart(one: Found, other: Found) -> str:
    """The first condition in which two records of a cell differ; `UserError` for none."""
    names = differing(one.record, other.record)
    if not names:
        first, second = sorted((one, other), key=lambda item: str(item.path))
        record = one.record
        raise UserError(
            f"{first.path} and {second.path} both claim {record.benchmark} of "
            f"{record.checkpoint.name} (protocol {record.protocol}, seed {record.seed}), and "
            f"differ: {contradiction(first.record, second.record)}; remove the one that is out of "
            "date"
        )
    return names[0]


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


def _choose(name: str, known: Sequence[str], what: str, unused: Mapping[str, list[str]]) -> str:
    """`choose` in the results; what has records that are all left out is not called unknown."""
    if name not in known and name in unused:
        count, why = len(unused[name]), " or ".join(dict.fromkeys(unused[name]))
        raise UserError(f"{name}: none of its records ({count}) is used, each {why}; measure again")
    return choose(name, known, f"{what} in the results")


def _of_variants(
    found: Sequence[Found], variants: Sequence[str], unused: Mapping[str, list[str]]
) -> list[Found]:
    known = sorted({item.record.variant for item in found})
    wanted = {_choose(name, known, "variant", unused) for name in variants}
    return [item for item in found if not wanted or item.record.variant in wanted]


def _in_order(
    found: Sequence[Found], names: Sequence[str], unused: Mapping[str, list[str]]
) -> list[Found]:
    known = sorted({item.record.checkpoint.name for item in found})
    order = {_choose(name, known, "checkpoint", unused): i for i, name in enumerate(names)}
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

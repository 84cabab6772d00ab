"""Measured rows beside the published ones: a table and its notes for each measured table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.checkpoints.cards import Card
from reports.comparison import band
from reports.comparison.beside import (
    counterparts,
    held_against,
    like_cells,
    named,
    protocols_by_column,
    published_cells,
    published_row,
    subject,
)
from reports.comparison.reasons import reasons
from reports.document import NO_RESULTS, numbered
from reports.footnotes import footnotes, printed_notes
from reports.layers import best_of
from reports.measured import Measured
from reports.published import VARIANT, Published, PublishedRow
from reports.tables import (
    BEST,
    FEATURES,
    PART_NAMES,
    Cell,
    Row,
    Table,
    code,
    escape,
    link,
    markdown,
)


@dataclass(frozen=True)
class Section:
    """A comparison: its heading, the rows, and what a reader must know below them."""

    title: str
    facts: str  # of the title, beside the name of the table
    table: Table
    notes: tuple[str, ...]  # Markdown
    printed: tuple[str, ...] = ()  # those that figures may not stand without in a paper


def compare(
    measured: Sequence[Measured],
    published: Published,
    cards: Mapping[str, Card],
    only: Sequence[PublishedRow] = (),
    seeds: bool = False,
) -> list[Section]:
    """A section for each measured table: every measured row, and the published ones beside it.

    Only figures of one protocol stand in one column; what is not comparable is named with the
    reason. Differences are given to `only` when there are any; else to the published rows of the
    same config name; else to those of the method that the checkpoint's card names. Without `only`
    all other published rows of the same protocol follow. The footnotes of the measured table,
    made with or without `seeds`, stand below those of the comparison. Rows that are not of the
    real data are left out by name.
    """
    sections = [
        _left_out(item) if item.table.partial else _section(item, published, cards, only)
        for item in measured
    ]
    return [
        replace(
            one,
            notes=tuple(dict.fromkeys((*one.notes, *footnotes(item, seeds)))),
            printed=printed_notes(item, seeds) if one.table.rows else (),
        )
        for one, item in zip(sections, measured)
    ]


def _left_out(item: Measured) -> Section:
    """A section without rows, for figures that are not of the real data."""
    names = band.shown([row.name for row in item.table.rows])
    table = Table(item.kind, item.variant, item.table.columns, (), (), item.table.number)
    return Section(*_title(item), table, (f"Not compared: {names} ({item.table.partial}).",))


def to_markdown(sections: Sequence[Section], bold: bool = False) -> str:
    """The block `compare`, or a line that says that there is nothing to compare."""
    texts = []
    for one in sections:
        notes = "\n".join(f"- {note}" for note in one.notes)
        table = [markdown(one.table, bold)] if one.table.rows else []
        texts.append("\n\n".join([f"#### {escape(one.title)}", *table, notes]))
    return "\n\n".join(texts) if texts else NO_RESULTS


def _section(
    item: Measured, published: Published, cards: Mapping[str, Card], only: Sequence[PublishedRow]
) -> Section:
    barred = reasons(item)
    bands = _bands(item, published, barred)
    rows: list[Row] = []
    notes: list[str] = []
    shown: list[PublishedRow] = []
    alone: list[str] = []
    for row in item.table.rows:
        near = counterparts(row, published, cards.get(row.name), only)
        lines, unlike = held_against(row, item.table, published, near, barred, bands)
        rows.append(Row(row.name, row.link, row.cells, "measured:"))
        rows += [line for _, pair in lines for line in pair]
        notes += unlike
        shown += [one for one, _ in lines if one not in shown]
        comparable = any(item.kind.part(column) not in barred for column in row.cells)
        alone += [row.name] if comparable and not lines else []
    others = [] if only else _others(item, published, shown, barred)
    rows += [published_row(published, one, cells) for one, cells in others]
    shown += [one for one, _ in others]
    notes += _barred(item, barred)
    if shown:
        rows.append(band.band_row(bands))
        notes = [band.NOTE, *notes, *_without(item, shown, barred)]
        notes += _fewer_layers(item) + ([] if only else _elsewhere(item, published, barred))
        notes += _alone(alone, only) + _about(item, shown, published)
    elif not any(item.kind.key in one.figures for one in published.rows):
        notes.append(f"Not compared: no figures of {escape(item.kind.title)} are published.")
    elif alone:
        which = "none of the chosen published rows" if only else "no published row"
        names = band.shown(alone)
        notes.append(f"Not compared: {names}; {which} has figures of the same protocol.")
    table = Table(item.kind, item.variant, item.table.columns, tuple(rows), (), item.table.number)
    return Section(*_title(item), table, tuple(dict.fromkeys(notes)))


def _title(item: Measured) -> tuple[str, str]:
    """A heading, and what of it is beside the table's name and variant."""
    variant = [] if item.variant == VARIANT else [f"variant {item.variant}"]
    number = [numbered(item)] if item.table.number else []
    facts = f" ({', '.join((*variant, *number))})" if variant or number else ""
    title = f"{item.kind.title}: measured and published{facts}"
    return title, ", ".join(["measured and published", *number])


def _bands(
    item: Measured, published: Published, barred: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    protocols = {
        column: name
        for column, name in protocols_by_column(item.table).items()
        if item.kind.part(column) not in barred
    }
    bands = band.band(published, item.kind, protocols)
    if BEST in item.table.columns and "AvgPool" in bands:
        bands[BEST] = bands.pop("AvgPool")
    return bands


def _others(
    item: Measured,
    published: Published,
    shown: Sequence[PublishedRow],
    barred: Mapping[str, str],
) -> list[tuple[PublishedRow, dict[str, Cell]]]:
    """All other published rows with figures of the protocols of a measured table."""
    pairs = (
        (one, like_cells(published_cells(one, item.table), item.table, barred))
        for one in published.rows
        if one not in shown
    )
    return [(one, cells) for one, cells in pairs if cells]


def _barred(item: Measured, barred: Mapping[str, str]) -> list[str]:
    """For each part of which nothing can be compared: whose figures, and why."""
    notes = []
    for part, reason in barred.items():
        names = [row.name for row in item.table.rows if _has(row, item, part)]
        if names:
            notes.append(f"Not compared: {PART_NAMES[part]} of {band.shown(names)} {reason}.")
    return notes


def _has(row: Row, item: Measured, part: str) -> bool:
    return any(item.kind.part(column) == part for column in row.cells)


def _without(item: Measured, shown: Sequence[PublishedRow], barred: Mapping[str, str]) -> list[str]:
    """For each row: the columns in which none of the published rows beside it has a figure."""
    there = {
        column
        for one in shown
        for column in like_cells(published_cells(one, item.table), item.table, barred)
    }
    if BEST in item.table.columns:
        there.add("AvgPool")
    missing: dict[str, list[str]] = {}
    for row in item.table.rows:
        columns = [
            column
            for column in item.table.columns
            if column not in there
            and item.kind.part(column) not in barred
            and row.cells.get(column, Cell()).value is not None
        ]
        if columns:
            missing.setdefault(", ".join(columns), []).append(row.name)
    return [
        f"Not compared: {columns} of {band.shown(names)}, which no published row of the same "
        "protocol has."
        for columns, names in missing.items()
    ]


def _fewer_layers(item: Measured) -> list[str]:
    """Rows whose best layer is of fewer than those among which the published ones were chosen."""
    rows = best_of(item.found)
    return [
        f"Not alike: the best layer of {escape(name)} is of {', '.join(layers)} alone, those of "
        f"published rows are of all {len(FEATURES)}."
        for name, layers in rows.items()
        if not {*FEATURES} <= {*layers}
    ]


def _elsewhere(item: Measured, published: Published, barred: Mapping[str, str]) -> list[str]:
    """For each other protocol of a part: the published rows that it measured, and so not beside."""
    ours = protocols_by_column(item.table)
    apart: dict[tuple[str, str | None], dict[str, None]] = {}
    for one in published.rows:
        for column, cell in published_cells(one, item.table).items():
            part = item.kind.part(column)
            known = ours.get(column)
            if known and part not in barred and cell.value is not None and cell.protocol != known:
                apart.setdefault((part, cell.protocol), {})[named(published, one)] = None
    return [
        f"Not beside them: {PART_NAMES[part]} of {band.shown(list(names))}, measured by "
        f"{code(protocol) if protocol else 'a protocol that is not named'}."
        for (part, protocol), names in apart.items()
    ]


def _alone(names: Sequence[str], only: Sequence[PublishedRow]) -> list[str]:
    if not names or only:
        return []
    return [
        f"No differences for {band.shown(names)}: no published row of the same protocol is of its "
        "config or method."
    ]


def _about(item: Measured, shown: Sequence[PublishedRow], published: Published) -> list[str]:
    """Where the published rows are from, and remarks on them."""
    return [
        "All figures of a column are of one protocol.",
        *(f"**Source**: {link(name, url)}." for name, url in _sources(shown, published)),
    ] + [
        f"Note on {escape(subject(published, one))}: {escape(one.notes[item.kind.key])}."
        for one in shown
        if item.kind.key in one.notes
    ]


def _sources(shown: Iterable[PublishedRow], published: Published) -> list[tuple[str, str]]:
    sources = (published.sources[key] for key in dict.fromkeys(one.source for one in shown))
    return [(f"{one.project} {one.version}, {one.document}", one.url) for one in sources]

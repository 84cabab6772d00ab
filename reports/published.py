"""Published reference figures as data, each with its source, and the tables made from them.

`published.json` holds what the model zoos print, to the digit. Where two sources disagree about
the same checkpoint, both rows are there.
"""

import difflib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from benchmarks import results
from benchmarks.catalog.listed import PROTOCOLS
from reports.document import CONFIG_FOLDERS, protocol_link, section
from reports.tables import (
    KINDS,
    PART_NAMES,
    Cell,
    Kind,
    Row,
    Table,
    code,
    escape,
    format_table,
    link,
    protocols_of,
)
from slurm.errors import UserError

DATA = Path(__file__).with_name("published.json")
SCHEMA = 1
VARIANT = "mmselfsup"  # the variant whose protocol produced all these tables
_SELECTION = {
    "voc-svm": ("As published: the cost of the low-shot SVMs is chosen on the test set.",),
    "imagenet-linear": (
        "As published: Feature1 - Feature5 are of the last epoch, AvgPool of the best one "
        "(so OpenSelfSup; MMSelfSup's pages do not say).",
    ),
    "places205-linear": ("As published: top-1 of the last epoch.",),
}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document that prints figures."""

    project: str
    version: str
    document: str
    url: str
    calls: dict[str, str] = {}  # by protocol: its name in the document, where that is another


class PublishedRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A checkpoint's figures as one source prints them; percent."""

    method: str
    name: str  # the text of the first column
    config: str | None
    source: str  # a key of `Published.sources`
    figures: dict[str, dict[str, float]]  # by key of KINDS, then by column
    protocols: dict[str, str | None]  # by benchmark; None where the document names none
    best_layer: str | None = None
    notes: dict[str, str] = {}  # by key of KINDS


class Other(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A published figure of a benchmark that this project does not run."""

    method: str
    task: str
    metric: str
    value: float
    source: str
    note: str = ""
    verified: bool = True  # False: quoted from memory, not checked in the source


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of `published.json`."""

    schema: int
    sources: dict[str, Source]
    rows: tuple[PublishedRow, ...]
    others: tuple[Other, ...]


def load(path: Path = DATA) -> Published:
    """Read and validate the published figures; `UserError` names what is wrong."""
    published = results.read(path, Published)
    if published.schema != SCHEMA:
        raise UserError(f"{path} has schema {published.schema}, this version reads {SCHEMA}")
    seen: set[tuple[str, str, str]] = set()
    for row in published.rows:
        where = f"{path}: {row.method} {row.name}"
        identity = (row.method, row.name, row.source)
        if identity in seen:
            raise UserError(f"{where} stands twice for the source {row.source}")
        seen.add(identity)
        for kind, figures in row.figures.items():
            columns = KINDS[kind].columns if kind in KINDS else ()
            wrong = [name for name, value in figures.items() if not _valid(name, value, columns)]
            if wrong or not figures:
                raise UserError(f"{where} has a wrong table or figure: {kind} {wrong[:1]}")
        parts = {
            KINDS[kind].part(name) for kind, figures in row.figures.items() for name in figures
        }
        if parts != row.protocols.keys():
            raise UserError(f"{where} needs a protocol, or null, for each of {sorted(parts)}")
        for part, name in row.protocols.items():
            if name is not None and not _measures(name, part):
                raise UserError(f"{where} names an unknown protocol of {part}: {name}")
        if not row.notes.keys() <= row.figures.keys():
            raise UserError(f"{where} has a note on a table that it is not in")
        if ("voc-svm" in row.figures) != (row.best_layer is not None):
            raise UserError(f"{where} needs a best layer exactly when it has VOC figures")
    cited = {row.source for row in published.rows} | {item.source for item in published.others}
    if not cited <= published.sources.keys():
        raise UserError(f"{path} cites unknown sources {sorted(cited - published.sources.keys())}")
    return published


def select(published: Published, only: Sequence[str]) -> list[PublishedRow]:
    """Rows whose config name or method is in `only` (all rows without any), in file order."""
    if not only:
        return list(published.rows)
    known = {text for row in published.rows for text in (row.name, row.method)}
    plain = {text.casefold() for text in known}
    for wanted in only:
        if wanted.casefold() not in plain:
            close = difflib.get_close_matches(wanted, sorted(known), n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(close)}?" if close else "see --published"
            raise UserError(f"no published row {wanted!r}; {hint}")
    chosen = {wanted.casefold() for wanted in only}
    return [row for row in published.rows if {row.name.casefold(), row.method.casefold()} & chosen]


def published_tables(published: Published, rows: Sequence[PublishedRow]) -> list[Table]:
    """The tables of these rows; where there are several methods, rows name theirs."""
    tables = []
    for kind in KINDS.values():
        members = [row for row in rows if kind.key in row.figures]
        if members:
            several = len({row.method for row in members}) > 1
            names = Counter(map(_named, members))
            shown = tuple(
                _row(
                    row, kind, several, source_of(published, row) if names[_named(row)] > 1 else ""
                )
                for row in members
            )
            columns = tuple(
                column
                for column in kind.columns
                if column != "AvgPool" or any(column in row.cells for row in shown)
            )
            table = Table(kind, VARIANT, columns, shown)
            notes = (*_protocol_notes(table), *_notes(published, kind, members))
            tables.append(replace(table, notes=notes))
    return tables


def published_sections(published: Published, only: Sequence[str], bold: bool = False) -> str:
    """The block `published`: tables with their sources, then other published figures."""
    rows = select(published, only)
    sections = [
        section(table, _referrals(table), table.notes, bold)
        for table in published_tables(published, rows)
    ]
    if not only:
        sections.append(_others(published))
    return "\n\n".join(sections)


def source_of(published: Published, row: PublishedRow) -> str:
    """The project that a row is from, and its version."""
    source = published.sources[row.source]
    return f"{source.project} {source.version}"


def row_cells(row: PublishedRow, kind: Kind) -> dict[str, Cell]:
    """The cells of a row in one kind of table."""
    cells = {
        column: Cell(value, records=(row.source,), protocol=row.protocols[kind.part(column)])
        for column, value in row.figures.get(kind.key, {}).items()
    }
    if kind.key == "voc-svm" and row.best_layer is not None:
        protocol = row.protocols[kind.part("Best Layer")]
        cells["Best Layer"] = Cell(text=row.best_layer, protocol=protocol)
    return cells


def _valid(column: str, value: float, columns: Sequence[str]) -> bool:
    return column in columns and column != "Best Layer" and 0 <= value <= 100


def _measures(name: str, part: str) -> bool:
    protocol = PROTOCOLS.get(name)
    return protocol is not None and (protocol.benchmark, protocol.variant) == (part, VARIANT)


def _row(row: PublishedRow, kind: Kind, several: bool, source: str) -> Row:
    """A row of a table; `source` tells it from another of its name that stands there."""
    prefix = row.method if several else ""
    alone = f"{prefix} {row.name} ({source})".strip() if source else ""
    return Row(row.name, row.config, row_cells(row, kind), prefix, alone)


def _named(row: PublishedRow) -> tuple[str, str]:
    return row.method, row.name


def _notes(published: Published, kind: Kind, rows: Sequence[PublishedRow]) -> tuple[str, ...]:
    sources = [
        f"**Source**: {link(f'{source.project} {source.version}, {source.document}', source.url)} "
        f"({escape(', '.join(f'{row.method} {row.name}' for row in rows if row.source == key))})."
        + _calls(
            source,
            {row.protocols.get(part) for row in rows if row.source == key for part in kind.parts},
        )
        for key, source in published.sources.items()
        if any(row.source == key for row in rows)
    ]
    notes = [
        f"Note on {escape(f'{row.method} {row.name}')}: {escape(row.notes[kind.key])}."
        for row in rows
        if kind.key in row.notes
    ]
    return (*sources, *_SELECTION.get(kind.key, ()), *notes)


def _calls(source: Source, protocols: Collection[str | None]) -> str:
    """What the document calls the protocols of the shown rows."""
    names = [
        f"{code(name)} is {escape(called)}"
        for name, called in source.calls.items()
        if name in protocols
    ]
    return f" There {', '.join(names)}." if names else ""


def _referrals(table: Table) -> dict[str, str]:
    """By part: where the protocol is found, as the explanation above a table refers to it."""
    texts = {}
    for part in table.kind.parts:
        if part not in CONFIG_FOLDERS:
            continue
        links = [protocol_link(part, name) for name in protocols_of(table, part) if name]
        if links:
            several = f"{', '.join(links[:-1])} or {links[-1]} (which row is of which stands below)"
            texts[part] = links[0] if len(links) == 1 else several
    return texts


def _protocol_notes(table: Table) -> list[str]:
    """Which row is of which protocol, for parts with several, or with rows that name none."""
    notes = []
    for part in table.kind.parts:
        found = protocols_of(table, part)
        for name, rows in found.items():
            if len(found) > 1 or name is None:
                by = "by a protocol that is not named" if name is None else f"by {code(name)}"
                names = ", ".join(f"{row.prefix} {row.name}".strip() for row in rows)
                notes.append(f"**{PART_NAMES[part]}** {by}: {escape(names)}.")
    return notes


def _others(published: Published) -> str:
    rows = []
    for item in published.others:
        source = published.sources[item.source]
        note = item.note if item.verified else "; ".join(filter(None, (item.note, "unverified")))
        rows.append(
            [
                *map(escape, (item.method, item.task, item.metric)),
                f"{item.value:.2f}",
                link(f"{source.project} {source.version}", source.url),
                escape(note),
            ]
        )
    header = ["Method", "Benchmark", "Metric", "Value", "Source", "Remarks"]
    return "#### Other published figures\n\n" + format_table(header, rows)

"""A measured row beside the published ones, with the differences and the run-to-run band."""

from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.checkpoints.cards import Card
from benchmarks.protocols import PROTOCOLS
from benchmarks.results import Record
from reports.collect import SETTINGS
from reports.footnotes import PART_NAMES
from reports.measured import Measured
from reports.published import VARIANT, Published, PublishedRow, row_cells
from reports.tables import Cell, Kind, Row, Table, code, escape, markdown

# Methods that were trained again for another zoo, with the same recipe and the same probes.
RETRAINED = ("Relative-Loc", "Rotation-Pred", "NPID", "MoCo v2")
_SOURCES = ("openselfsup", "mmselfsup-0.11.0")
_IMAGES = {  # of the data behind all published figures
    "voc07_svm": {"trainval": 5011, "test": 4952},
    "voc07_low_shot_svm": {"trainval": 5011, "test": 4952},
    "imagenet_linear": {"train": 1281167, "val": 50000},
    "imagenet_avgpool": {"train": 1281167, "val": 50000},
    "places205_linear": {"train": 2448873, "val": 20500},
}
NOTHING = "No measured row has a published counterpart."


def comparison(
    measured: Sequence[Measured],
    published: Published,
    cards: Mapping[str, Card],
    only: Sequence[PublishedRow] = (),
) -> str:
    """The block `compare`: each measured row beside its published counterparts.

    Only figures of one protocol are held against each other; what is not alike is named.
    Counterparts are `only` when given; else the published rows of the same config name; else
    those of the method that the checkpoint's card names.
    """
    sections = []
    for item in measured:
        if item.variant != VARIANT:
            continue
        records = {part: found[0].record for part, found in item.found.items()}
        changed = {part: _changes(record) for part, record in records.items()}
        beside = [
            _beside(
                row,
                item.kind,
                published,
                counterparts(row, published, cards.get(row.name), only),
                changed,
            )
            for row in item.table.rows
        ]
        rows = [line for lines, _ in beside for line in lines]
        notes = [note for _, notes in beside for note in notes]
        notes += _other_data(records) if rows else []
        blocks = [f"#### {item.kind.title}: measured and published"]
        if rows:
            bands = band(published, item.kind, _protocols(item.table))
            notes = [_BAND_NOTE, *_beyond(rows, bands), *notes]
            rows.append(_band_row(bands))
            table = Table(item.kind, item.variant, item.table.columns, tuple(rows))
            blocks.append(markdown(table))
        if notes:
            blocks.append("\n".join(f"- {note}" for note in dict.fromkeys(notes)))
            sections.append("\n\n".join(blocks))
    left_out = sorted({item.variant for item in measured} - {VARIANT})
    if left_out:
        sections.append(
            f"Rows of the variant {escape(', '.join(left_out))} have no published counterpart: "
            "another protocol measured them."
        )
    return "\n\n".join(sections) if sections else NOTHING


_BAND_NOTE = (
    f"**Run-to-run band**: smallest and largest difference, in points, between the two published "
    f"trainings of {', '.join(RETRAINED)} (OpenSelfSup, then MMSelfSup); a difference inside it "
    "is no evidence of anything else."
)


def band(
    published: Published, kind: Kind, protocols: Mapping[str, str | None] | None = None
) -> dict[str, tuple[float, float]]:
    """By column: the smallest and largest absolute difference between two published trainings.

    Only figures of one protocol are held against each other; with `protocols`, by column, only
    those of that one.
    """
    differences: dict[str, list[float]] = {}
    for method in RETRAINED:
        first, second = (_cells(published, method, source, kind) for source in _SOURCES)
        for column in first.keys() & second.keys():
            here, there = first[column], second[column]
            wanted = here.protocol if protocols is None else protocols.get(column)
            if not _like(here, there) or here.protocol != wanted:
                continue
            if here.value is not None and there.value is not None:
                differences.setdefault(column, []).append(abs(here.value - there.value))
    return {
        column: (min(differences[column]), max(differences[column]))
        for column in kind.columns
        if column in differences
    }


def _cells(published: Published, method: str, source: str, kind: Kind) -> dict[str, Cell]:
    for row in published.rows:
        if row.method == method and row.source == source and kind.key in row.figures:
            return row_cells(row, kind)
    return {}


def _protocols(table: Table) -> dict[str, str | None]:
    """The protocol of each column of a measured table."""
    return {column: cell.protocol for row in table.rows for column, cell in row.cells.items()}


def _like(here: Cell, there: Cell) -> bool:
    """Whether two figures are known to be of one protocol, so that they may be compared."""
    return here.protocol is not None and here.protocol == there.protocol


def _changes(record: Record) -> list[str]:
    """Settings of a record that are not those of the protocol whose name it bears."""
    protocol = PROTOCOLS.get(record.protocol)
    if protocol is None:
        return []
    numbers = msgspec.json.decode(msgspec.json.encode(protocol))
    return [
        f"{name} {record.settings[name]} instead of {number}"
        for name, number in numbers.items()
        if name in SETTINGS and record.settings.get(name, number) != number
    ]


def counterparts(
    row: Row, published: Published, card: Card | None, only: Sequence[PublishedRow] = ()
) -> list[PublishedRow]:
    """The published rows to hold a measured row against."""
    if only:
        return list(only)
    config = (card.config if card else None) or row.link
    same = [
        one
        for one in published.rows
        if one.name == row.name or (config is not None and one.config == config)
    ]
    if same:
        # The other sources of the same method hold what they say about it, too.
        methods = {one.method for one in same}
        return [one for one in published.rows if one.method in methods]
    method = _plain(card.method or "") if card else ""
    return [one for one in published.rows if method and _plain(one.method) == method]


def _plain(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _other_data(records: Mapping[str, Record]) -> list[str]:
    """A note for each part that was measured on another number of images than the published."""
    notes = []
    for part, record in records.items():
        differ = [
            f"{record.data[split].images:,} {split} images instead of {count:,}"
            for split, count in _IMAGES.get(part, {}).items()
            if split in record.data and record.data[split].images != count
        ]
        if differ:
            notes.append(f"**{PART_NAMES[part]} on other data**: measured on {', '.join(differ)}.")
    return notes


def _beside(
    row: Row,
    kind: Kind,
    published: Published,
    found: Sequence[PublishedRow],
    changed: Mapping[str, Sequence[str]],
) -> tuple[list[Row], list[str]]:
    """A measured row and its counterparts with the differences, and notes on what is not alike."""
    lines: list[Row] = []
    notes = []
    for one in found:
        cells = row_cells(one, kind)
        source = published.sources[one.source]
        prefix = f"published, {source.project} {source.version}:"
        shared = [column for column in row.cells if column in cells]
        usual = [column for column in shared if not changed.get(kind.part(column))]
        like = [column for column in usual if _like(row.cells[column], cells[column])]
        notes += [
            f"Not compared: {PART_NAMES[part]} of {escape(row.name)} was measured with other "
            f"numbers than the protocol of that name has: {escape(', '.join(changed[part]))}."
            for part in dict.fromkeys(kind.part(column) for column in shared if column not in usual)
        ]
        notes += [
            _unlike(row, column, f"{source.project} {source.version}: {one.name}", cells[column])
            for column in usual
            if column not in like and cells[column].value is not None
        ]
        if any(cells[column].value is not None for column in like):
            shown = {column: cells[column] for column in like}
            lines += [
                Row(one.name, one.config, shown, prefix),
                Row("difference", None, _differences(row.cells, shown)),
            ]
            if kind.key in one.notes:
                notes.append(f"Note on {escape(one.name)}: {escape(one.notes[kind.key])}.")
    return [Row(row.name, row.link, row.cells, "measured:"), *lines] if lines else [], notes


def _unlike(row: Row, column: str, against: str, cell: Cell) -> str:
    ours = row.cells[column].protocol
    theirs = f"by {code(cell.protocol)}" if cell.protocol else "by a protocol that is not named"
    return (
        f"Not compared: {column} of {escape(row.name)} was measured by {code(ours or 'unknown')}, "
        f"the {cell} of {escape(against)} {theirs}."
    )


def _differences(measured: Mapping[str, Cell], published: Mapping[str, Cell]) -> dict[str, Cell]:
    cells = {}
    for column in measured.keys() & published.keys():
        here, there = measured[column], published[column]
        if here.value is not None and there.value is not None:
            points = here.value - there.value
            cells[column] = Cell(text=f"{points:+.2f}", value=points)
        elif here.text is not None:
            cells[column] = Cell(text="same" if here.text == there.text else "other")
    return cells


def _band_row(bands: Mapping[str, tuple[float, float]]) -> Row:
    cells = {column: Cell(text=f"{low:.2f}-{high:.2f}") for column, (low, high) in bands.items()}
    return Row("run-to-run band", None, cells)


def _beyond(rows: Sequence[Row], bands: Mapping[str, tuple[float, float]]) -> list[str]:
    """A footnote for each difference row that leaves the band somewhere."""
    notes = []
    shown = ""
    against = ""
    for row in rows:
        if row.prefix == "measured:":
            shown = row.name
        elif row.name != "difference":
            against = f"{row.prefix.removeprefix('published, ')} {row.name}"
        else:
            outside = [
                f"{column} by {cell}"
                for column in bands
                if (cell := row.cells.get(column)) and abs(cell.value or 0) > bands[column][1]
            ]
            if outside:
                notes.append(
                    f"Outside the band: {escape(shown)} against {escape(against)}: "
                    f"{', '.join(outside)} points."
                )
    return notes

"""A measured row beside the published ones, with the differences and the run-to-run band."""

from collections.abc import Mapping, Sequence

from benchmarks.checkpoints.cards import Card
from reports.measured import Measured
from reports.published import VARIANT, Published, PublishedRow, row_cells
from reports.tables import Cell, Kind, Row, Table, escape, markdown

# Methods that were trained again for another zoo, with the same recipe and the same probes.
RETRAINED = ("Relative-Loc", "Rotation-Pred", "NPID", "MoCo v2")
_SOURCES = ("openselfsup", "mmselfsup-0.11.0")
NOTHING = "No measured row has a published counterpart."


def comparison(
    measured: Sequence[Measured],
    published: Published,
    cards: Mapping[str, Card],
    only: Sequence[PublishedRow] = (),
) -> str:
    """The block `compare`: each measured row of the published protocol beside its counterparts.

    Counterparts are `only` when given; else the published rows of the same config name; else
    those of the method that the checkpoint's card names.
    """
    sections = []
    for item in measured:
        if item.variant != VARIANT:
            continue
        rows = [
            line
            for row in item.table.rows
            for line in _lines(
                row,
                item.kind,
                published,
                counterparts(row, published, cards.get(row.name), only),
            )
        ]
        if rows:
            bands = band(published, item.kind)
            beyond = _beyond(rows, bands)
            rows.append(_band_row(bands))
            table = Table(item.kind, item.variant, item.table.columns, tuple(rows))
            sections.append(
                f"#### {item.kind.title}: measured and published\n\n{markdown(table)}\n\n"
                + "\n".join(f"- {note}" for note in (_BAND_NOTE, *beyond))
            )
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


def band(published: Published, kind: Kind) -> dict[str, tuple[float, float]]:
    """By column: the smallest and largest absolute difference between two published trainings."""
    differences: dict[str, list[float]] = {}
    for method in RETRAINED:
        first, second = (_figures(published, method, source, kind) for source in _SOURCES)
        for column in first.keys() & second.keys():
            differences.setdefault(column, []).append(abs(first[column] - second[column]))
    return {
        column: (min(differences[column]), max(differences[column]))
        for column in kind.columns
        if column in differences
    }


def _figures(published: Published, method: str, source: str, kind: Kind) -> dict[str, float]:
    for row in published.rows:
        if row.method == method and row.source == source and kind.key in row.figures:
            return row.figures[kind.key]
    return {}


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


def _lines(row: Row, kind: Kind, published: Published, found: Sequence[PublishedRow]) -> list[Row]:
    lines = []
    for one in found:
        if kind.key not in one.figures:
            continue
        cells = row_cells(one, kind)
        source = published.sources[one.source]
        prefix = f"published, {source.project} {source.version}:"
        lines += [
            Row(one.name, one.config, cells, prefix),
            Row("difference", None, _differences(row.cells, cells)),
        ]
    return [Row(row.name, row.link, row.cells, "measured:"), *lines] if lines else []


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

"""The published rows to hold a measured row against, and the differences to each of them."""

from collections.abc import Mapping, Sequence

from benchmarks.checkpoints.cards import Card
from reports.comparison.band import alike, outside
from reports.published import Published, PublishedRow, row_cells, source_of
from reports.tables import BEST, Cell, Row, Table, code, escape, signed


def counterparts(
    row: Row, published: Published, card: Card | None, only: Sequence[PublishedRow] = ()
) -> list[PublishedRow]:
    """The rows `only`; else those of the same config; else those of the card's method.

    A config's name that several methods have is of the one that the card names, if it names one.
    """
    if only:
        return list(only)
    config = (card.config if card else None) or row.link
    method = _plain(card.method or "") if card else ""
    same = [
        one
        for one in published.rows
        if one.name == row.name or (config is not None and one.config == config)
    ]
    if same:
        # The other sources of the same method hold what they say about it, too.
        methods = {one.method for one in same}
        # Several methods have configs of one name: where the card says which, it is that one.
        methods = {one for one in methods if _plain(one) == method} or methods
        return [one for one in published.rows if one.method in methods]
    return [one for one in published.rows if method and _plain(one.method) == method]


def _plain(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def published_cells(one: PublishedRow, table: Table) -> dict[str, Cell]:
    """The cells of a published row, by the columns of `table`.

    The published AvgPool figures are of the best epoch: they stand there where it has a column.
    """
    cells = row_cells(one, table.kind)
    if BEST in table.columns and "AvgPool" in cells:
        cells[BEST] = cells.pop("AvgPool")
    return cells


def protocols_by_column(table: Table) -> dict[str, str | None]:
    """The protocol that measured each column of a table; all rows of a column have one."""
    found: dict[str, str | None] = {}
    for row in table.rows:
        for column, cell in row.cells.items():
            found[column] = found.get(column) or cell.protocol
    return found


def like_cells(
    cells: Mapping[str, Cell], table: Table, barred: Mapping[str, str]
) -> dict[str, Cell]:
    """Those of published cells that were measured by the protocols of a measured table.

    None is of a part in `barred`. Empty where they hold no figure.
    """
    protocols = protocols_by_column(table)
    like = {
        column: cell
        for column, cell in cells.items()
        if cell.protocol is not None
        and cell.protocol == protocols.get(column)
        and table.kind.part(column) not in barred
    }
    return like if any(cell.value is not None for cell in like.values()) else {}


def published_row(published: Published, one: PublishedRow, cells: dict[str, Cell]) -> Row:
    """The row of a comparison that shows `cells` of a published row."""
    return Row(one.name, one.config, cells, f"published, {source_of(published, one)}: {one.method}")


def named(published: Published, one: PublishedRow) -> str:
    """A published row by its method and where it is from."""
    return f"{one.method} ({source_of(published, one)})"


def subject(published: Published, one: PublishedRow) -> str:
    """What a note is on: several methods of one source have configs of one name."""
    return f"{source_of(published, one)}: {one.method} {one.name}"


def held_against(
    row: Row,
    table: Table,
    published: Published,
    found: Sequence[PublishedRow],
    barred: Mapping[str, str],
    bands: Mapping[str, tuple[float, float]],
) -> tuple[list[tuple[PublishedRow, list[Row]]], list[str]]:
    """Each counterpart with its row and the differences to it; and notes on what is not alike.

    Only figures of one protocol are held against each other; none of the parts in `barred` is.
    """
    lines: list[tuple[PublishedRow, list[Row]]] = []
    notes = []
    for one in found:
        cells = published_cells(one, table)
        against = subject(published, one)
        like = like_cells(cells, table, barred)
        notes += [
            _unlike(row, column, against, cells[column])
            for column in row.cells
            if column in cells
            and table.kind.part(column) not in barred
            and not alike(row.cells[column], cells[column])
            and cells[column].value is not None
        ]
        cells_less = _differences(row.cells, like)
        differences = Row(
            "difference", None, cells_less, alone=f"difference: {row.name} less {against}"
        )
        if any(cell.value is not None for cell in differences.cells.values()):
            lines.append((one, [published_row(published, one, like), differences]))
            notes += outside(row.name, against, differences, bands)
    return lines, notes


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
            cells[column] = Cell(text=signed(points), value=points, protocol=here.protocol)
        elif here.text is not None:
            cells[column] = Cell(text="same" if here.text == there.text else "other")
    return cells

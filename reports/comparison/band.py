"""How far two published trainings of one recipe lie apart: what a difference is worth."""

from collections.abc import Mapping, Sequence

from reports.published import Published, row_cells
from reports.tables import Cell, Kind, Row, escape

# Methods that were trained again for another zoo, with the same recipe and the same probes.
RETRAINED = ("Relative-Loc", "Rotation-Pred", "NPID", "MoCo v2")
_SOURCES = ("openselfsup", "mmselfsup-0.11.0")
NOTE = (
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
            if not alike(here, there) or here.protocol != wanted:
                continue
            if here.value is not None and there.value is not None:
                differences.setdefault(column, []).append(abs(here.value - there.value))
    return {
        column: (min(differences[column]), max(differences[column]))
        for column in kind.columns
        if column in differences
    }


def alike(here: Cell, there: Cell) -> bool:
    """Whether two figures are known to be of one protocol, so that they may be compared."""
    return here.protocol is not None and here.protocol == there.protocol


def band_row(bands: Mapping[str, tuple[float, float]]) -> Row:
    """The row of the band, for the end of a table."""
    cells = {column: Cell(text=f"{low:.2f}-{high:.2f}") for column, (low, high) in bands.items()}
    return Row("run-to-run band", None, cells)


def outside(
    measured: str, against: str, differences: Row, bands: Mapping[str, tuple[float, float]]
) -> list[str]:
    """A footnote where a row of differences leaves the band somewhere."""
    beyond = [
        f"{column} by {cell}"
        for column in bands
        if (cell := differences.cells.get(column)) and abs(cell.value or 0) > bands[column][1]
    ]
    if not beyond:
        return []
    return [
        f"Outside the band: {escape(measured)} against {escape(against)}: "
        f"{', '.join(beyond)} points."
    ]


def _cells(published: Published, method: str, source: str, kind: Kind) -> Mapping[str, Cell]:
    for row in published.rows:
        if row.method == method and row.source == source and kind.key in row.figures:
            return row_cells(row, kind)
    return {}


def shown(names: Sequence[str]) -> str:
    """Names in a sentence, as Markdown."""
    return escape(", ".join(dict.fromkeys(names)))

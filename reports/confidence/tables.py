"""Intervals in the cells of measured tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reports.collect import Collection, originals
from reports.confidence.figures import (
    LOW_SHOT_RESAMPLES,
    Figure,
    figure_of,
    resampled,
    test_split,
    why_none,
    work_of,
)
from reports.confidence.intervals import LEVEL, difference, interval
from reports.confidence.resampling import RESAMPLES, Floats
from reports.confidence.selection import with_choices
from reports.measured import Measured
from reports.tables import Cell, Row, Table, best_values, escape, mixed_parts
from slurm.progress import progress

SHOWN_REASONS = 6  # of figures without an interval, in the footnote

Cells = dict[tuple[int, str, str], tuple[Figure, Floats]]  # table, row, column
Reasons = dict[tuple[int, str, str], str]  # why there is no interval


def with_intervals(measured: Sequence[Measured], collection: Collection) -> list[Measured]:
    """The tables with an interval in each cell of one record that has outcomes.

    Cells that a paired comparison cannot tell from the best of their column are marked as best.
    """
    found = {str(item.path): item for item in originals(collection.found)}
    places: list[tuple[int, str, str]] = []
    wanted: list[Figure] = []
    for number, item in enumerate(measured):
        for row in item.table.rows:
            for column in item.table.columns:
                figure = figure_of(row, column, found)
                if figure is not None:
                    places.append((number, row.name, column))
                    wanted.append(figure)
    zoo = collection.zoo
    with progress(desc="intervals", total=work_of(wanted, zoo), unit="sample") as bar:
        samples = resampled(wanted, zoo, bar.update)
    known = {
        place: (figure, one)
        for place, figure, one in zip(places, wanted, samples)
        if one is not None
    }
    reasons = {
        place: why_none(figure) if one is None else _no_spread(figure)
        for place, figure, one in zip(places, wanted, samples)
        if one is None or not interval(figure.value, one).has_length
    }
    shown = [_table(item, number, known, reasons) for number, item in enumerate(measured)]
    return with_choices(shown, collection)


def _no_spread(figure: Figure) -> str:
    images = test_split(figure.found).images
    return (
        f"every resample of the {images:,} test images gives the same figure, where the bootstrap "
        "has no spread"
    )


def _note(measured: Measured, number: int, reasons: Reasons) -> str:
    """What the plus-minus signs of a table are, as a footnote."""
    cells = [cell for row in measured.table.rows for cell in row.cells.values()]
    without = sum(cell.low is None and cell.value is not None for cell in cells)
    why = "; ".join(_whys(measured, number, reasons))
    if all(cell.low is None for cell in cells):
        return f"No intervals: {why}."
    few = measured.kind.layout == "best layer"
    low_shot = f"; {LOW_SHOT_RESAMPLES:,} over images and draws in low-shot columns" if few else ""
    figures = "1 figure has" if without == 1 else f"{without} figures have"
    lacking = f". {figures} no interval: {why}" if without else ""
    return (
        f"**±**: half the {100 * LEVEL:.0f} % interval over test sets of as many images "
        f"(percentile bootstrap, {RESAMPLES:,} resamples{low_shot}); seeds and pretraining runs "
        f"are not in it{lacking}."
    )


def _bold(table: Table) -> str:
    """What bold figures of a table are, as a sentence; empty where none can be."""
    columns = best_values(table)
    sure = [
        column
        for column in columns
        if any(row.cells[column].low is not None for row in table.rows if column in row.cells)
    ]
    if not sure:
        return "**Bold**: the highest figure of a column." if columns else ""
    alone = "; in columns without ± the highest alone" if len(sure) < len(columns) else ""
    return (
        "**Bold**: the highest figure of a column, and those whose difference from it has a paired "
        f"{100 * LEVEL:.0f} % interval that holds 0{alone}."
    )


def _whys(measured: Measured, number: int, reasons: Reasons) -> list[str]:
    """Why figures have no interval and what helps, for each row and reason its columns."""
    columns: dict[tuple[str, str], list[str]] = {}
    for row in measured.table.rows:
        for column, cell in row.cells.items():
            if cell.value is not None and cell.low is None:
                reason = reasons.get((number, row.name, column), "no outcomes are kept of these")
                columns.setdefault((row.name, reason), []).append(column)
    every = measured.table.columns
    texts = [
        f"{row} {_range(names, every)}, as {reason}" for (row, reason), names in columns.items()
    ]
    more = len(texts) - SHOWN_REASONS
    return [*map(escape, texts[:SHOWN_REASONS]), *([f"{more} more alike"] if more > 0 else [])]


def _range(names: Sequence[str], every: Sequence[str]) -> str:
    """Columns by name; many that stand side by side by the first and the last."""
    begin = every.index(names[0])
    beside = list(every[begin : begin + len(names)]) == list(names)
    return f"{names[0]} to {names[-1]}" if len(names) > 3 and beside else ", ".join(names)


def _table(item: Measured, number: int, known: Cells, reasons: Reasons) -> Measured:
    mixed = mixed_parts(item.table)
    best = {
        column: _best(number, column, item.table.rows, known)
        for column in item.table.columns
        if item.table.kind.part(column) not in mixed
    }
    rows = tuple(replace(row, cells=_cells(number, row, known, best)) for row in item.table.rows)
    shown = replace(item, table=replace(item.table, rows=rows))
    return replace(shown, intervals=_note(shown, number, reasons), bold=_bold(shown.table))


def _cells(number: int, row: Row, known: Cells, best: Mapping[str, set[str]]) -> dict[str, Cell]:
    cells = dict(row.cells)
    for column, cell in row.cells.items():
        if (number, row.name, column) in known:
            figure, samples = known[number, row.name, column]
            cells[column] = replace(cell, best=row.name in best.get(column, ()))
            found = interval(figure.value, samples)
            if found.has_length:
                cells[column] = replace(cells[column], low=found.low, high=found.high)
    return cells


def _best(number: int, column: str, rows: Sequence[Row], known: Cells) -> set[str]:
    """The rows of the best figure of a column, and those not separable from it.

    None where the best may be a row that cannot be resampled: nothing is known of the difference.
    """
    here = {
        row.name: known[number, row.name, column]
        for row in rows
        if (number, row.name, column) in known
    }
    if len(here) < 2:
        return set()
    first, samples = max(here.values(), key=lambda pair: pair[0].value)
    for row in rows:
        value = row.cells.get(column, Cell()).value
        if row.name not in here and value is not None and value >= first.value:
            return set()
    return {
        name
        for name, (figure, own) in here.items()
        if not difference(figure.value - first.value, samples, own).separable
    }

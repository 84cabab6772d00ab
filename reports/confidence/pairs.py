"""The differences of every two rows of a table, for a page on which two rows are clicked."""

from collections.abc import Sequence
from itertools import combinations

import msgspec

from reports.collect import Collection, originals
from reports.confidence.figures import Figure, figure_of, resampled
from reports.confidence.intervals import Difference, difference, holm
from reports.confidence.resampling import Floats
from reports.measured import Measured

MOST_ROWS = 40  # of a table, 780 pairs: every pair takes some milliseconds and bytes

Sampled = dict[str, dict[str, tuple[Figure, Floats]]]  # by row and column


class PairedColumn(msgspec.Struct, frozen=True):
    """One column of two rows, the later row less the earlier one; percent points."""

    column: str
    difference: float
    low: float
    high: float
    p_holm: float  # among all columns, of all tables, that the two rows share
    separable: bool


class Pairs(msgspec.Struct, frozen=True):
    """All pairs of the first rows of a table, by their numbers, as in `0,2`."""

    rows: int  # that are compared
    columns: dict[str, list[PairedColumn]]


def paired_rows(measured: Sequence[Measured], collection: Collection) -> list[Pairs]:
    """For each table what `compare` would say of each two of its first `MOST_ROWS` rows."""
    tables = [_samples(item, collection) for item in measured]
    shared: dict[tuple[str, str], list[tuple[int, str, Difference]]] = {}
    for number, sampled in enumerate(tables):
        for one, other in combinations(sampled, 2):
            for column in [name for name in sampled[one] if name in sampled[other]]:
                (first, before), (second, after) = sampled[one][column], sampled[other][column]
                found = difference(second.value - first.value, before, after)
                # In tables of other orders the same two rows must share one correction.
                names = (min(one, other), max(one, other))
                shared.setdefault(names, []).append((number, column, found))
    made: list[dict[str, list[PairedColumn]]] = [{} for _ in measured]
    places = [{row.name: at for at, row in enumerate(item.table.rows)} for item in measured]
    for names, columns in shared.items():
        adjusted = holm([found.p for _, _, found in columns])
        for (number, column, found), p in zip(columns, adjusted):
            at = sorted(places[number][name] for name in names)
            pair = PairedColumn(column, found.value, found.low, found.high, p, found.separable)
            made[number].setdefault(f"{at[0]},{at[1]}", []).append(pair)
    return [Pairs(len(sampled), columns) for sampled, columns in zip(tables, made)]


def _samples(item: Measured, collection: Collection) -> Sampled:
    found = {str(one.path): one for one in originals(collection.found)}
    places: list[tuple[str, str]] = []
    wanted: list[Figure] = []
    for row in item.table.rows[:MOST_ROWS]:
        for column in item.table.columns:
            figure = figure_of(row, column, found)
            if figure is not None:
                places.append((row.name, column))
                wanted.append(figure)
    sampled: Sampled = {row.name: {} for row in item.table.rows[:MOST_ROWS]}
    for (name, column), figure, samples in zip(places, wanted, resampled(wanted, collection.zoo)):
        if samples is not None:
            sampled[name][column] = (figure, samples)
    return sampled

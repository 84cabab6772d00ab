"""Two rows of one table on the same test images: what differs by more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from benchmarks.outcomes.files import read_outcomes
from benchmarks.results import LowShotRecord, VocSvmRecord
from reports.collect import Collection, originals
from reports.confidence.figures import (
    NOT_KEPT,
    figure_of,
    resampled,
    test_split,
    why_none,
    work_of,
)
from reports.confidence.intervals import Difference, difference, holm
from reports.confidence.unlike import Pair, title_of, unlike
from reports.measured import Measured
from reports.tables import Row
from slurm.progress import progress

SHOWN_CLASSES = 3  # that moved most


class Column(msgspec.Struct, frozen=True):
    """One column of a table in which both rows have a figure; percent, `second` less `first`."""

    table: str  # its key
    title: str  # of the table, with partial data and changed numbers; see `title_of`
    variant: str
    column: str
    first: str  # the names of the two rows
    second: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float  # two-sided, of this column alone
    p_holm: float  # among all columns of these two rows
    separable: bool  # the interval leaves out 0
    images: int  # of the test set
    wins: int | None = None  # images that only `second` has right; None for a mAP
    losses: int | None = None  # that only `first` has
    classes: dict[str, float] = {}  # the AP of those that moved most, second less first


@dataclass(frozen=True)
class Comparison:
    """All columns of two rows, and why others are not among them."""

    columns: tuple[Column, ...]
    missing: tuple[str, ...]
    unlike: tuple[str, ...] = ()  # in what the rows were measured otherwise


def compare_rows(
    measured: Sequence[Measured], collection: Collection, first: str, second: str
) -> Comparison:
    """Every column of every table in which both rows stand, with its paired interval."""
    zoo = collection.zoo
    pairs, missing = _pairs(measured, collection, first, second)
    wanted = [figure for pair in pairs for figure in (pair.first, pair.second)]
    with progress(
        desc=f"{second} against {first}", total=work_of(wanted, zoo), unit="sample"
    ) as bar:
        samples = resampled(wanted, zoo, bar.update)
    columns, compared = [], []
    for at, pair in enumerate(pairs):
        one, other = samples[2 * at], samples[2 * at + 1]
        if one is None or other is None:
            sides = ((pair.first, one), (pair.second, other))
            why = [why_none(figure) for figure, found in sides if found is None]
            missing.append(f"{title_of(pair.table, pair.column)}, {pair.column}: {'; '.join(why)}")
            continue
        found = difference(pair.second.value - pair.first.value, one, other)
        columns.append(_column(pair, first, second, found))
        compared.append(pair)
    adjusted = holm([column.p for column in columns])
    return Comparison(
        tuple(msgspec.structs.replace(one, p_holm=p) for one, p in zip(columns, adjusted)),
        tuple(missing),
        tuple(unlike(compared, first, second)),
    )


def _pairs(
    measured: Sequence[Measured], collection: Collection, first: str, second: str
) -> tuple[list[Pair], list[str]]:
    """The columns in which both rows have a figure, and those of which no outcomes are kept."""
    found = {str(item.path): item for item in originals(collection.found)}
    pairs: list[Pair] = []
    without: dict[str, list[str]] = {}  # by title
    for item in measured:
        rows = {row.name: row for row in item.table.rows}
        if first not in rows or second not in rows:
            continue
        for column in item.table.columns:
            one = figure_of(rows[first], column, found)
            other = figure_of(rows[second], column, found)
            if one is not None and other is not None:
                pairs.append(Pair(item, column, one, other))
            elif all(_has_value(rows[name], column) for name in (first, second)):
                without.setdefault(title_of(item, column), []).append(column)
    lines = [
        f"{title}, {', '.join(columns)}: {NOT_KEPT} of these" for title, columns in without.items()
    ]
    return pairs, lines


def _has_value(row: Row, column: str) -> bool:
    return column in row.cells and row.cells[column].value is not None


def _column(pair: Pair, first: str, second: str, found: Difference) -> Column:
    wins, losses = _won_and_lost(pair)
    return Column(
        table=pair.table.kind.key,
        variant=pair.table.variant,
        title=title_of(pair.table, pair.column),
        column=pair.column,
        first=first,
        second=second,
        a=pair.first.value,
        b=pair.second.value,
        difference=found.value,
        low=found.low,
        high=found.high,
        p=found.p,
        p_holm=found.p,
        separable=found.separable,
        images=test_split(pair.first.found).images,
        wins=wins,
        losses=losses,
        classes=_moved(pair),
    )


def _won_and_lost(pair: Pair) -> tuple[int | None, int | None]:
    """Images that only the second row has right, and only the first; None for those of an mAP."""
    right = []
    for figure in (pair.first, pair.second):
        path, record = figure.found.path, figure.found.record
        if isinstance(record, VocSvmRecord | LowShotRecord) or record.outcomes is None:
            return None, None  # their scores need not be read for this
        ranks = read_outcomes(path, record.outcomes, test_split(figure.found)).get(
            f"{figure.name}.rank"
        )
        if ranks is None:
            return None, None
        right.append(ranks == 0)
    return int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())


def _moved(pair: Pair) -> dict[str, float]:
    """The classes whose AP differs most, by size of the difference."""
    one, other = pair.first.found.record, pair.second.found.record
    if not (isinstance(one, VocSvmRecord) and isinstance(other, VocSvmRecord)):
        return {}
    moved = np.array(other.layers[pair.second.name].ap) - one.layers[pair.first.name].ap
    places = np.argsort(-np.abs(moved), kind="stable")[:SHOWN_CLASSES]
    return {one.classes[at]: float(moved[at]) for at in places}

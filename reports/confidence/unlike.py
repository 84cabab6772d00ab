"""In what two rows that are compared were measured otherwise, in words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.catalog.records import changes_of
from benchmarks.results import LowShotRecord
from reports.clashes.alike import conditions, draws_of
from reports.confidence.figures import Figure
from reports.differing import own_values
from reports.layers import best_of
from reports.measured import Measured
from reports.seeds import seed_matters


@dataclass(frozen=True)
class Pair:
    """The figures of two rows in one column of a table."""

    table: Measured
    column: str
    first: Figure
    second: Figure


def unlike(pairs: Iterable[Pair], first: str, second: str) -> list[str]:
    """A line for each difference, with the columns that it is of; of rows `first` and `second`."""
    columns: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        for text in _differences(pair, first, second):
            columns.setdefault((title_of(pair.table, pair.column), text), []).append(pair.column)
    return [f"{title}, {', '.join(names)}: {text}" for (title, text), names in columns.items()]


def title_of(measured: Measured, column: str) -> str:
    """What a column's figures are of, where its table is not beside them; plain text.

    The table's title; its number and what tells it apart, where several are of its kind and
    variant; what marks data that are not the real ones; and numbers that the user changed.
    """
    part = measured.kind.part(column)
    table, changes = measured.table, changes_of(measured.found[part][0].record)
    values = own_values(measured, part)
    return ", ".join(
        filter(None, (measured.kind.title, table.number, *values, table.partial, *changes))
    )


def _differences(pair: Pair, first: str, second: str) -> Iterator[str]:
    here, there = pair.first.found.record, pair.second.found.record
    if pair.table.kind.layout == "best layer":
        layers = best_of(pair.table.found)
        if set(layers[first]) != set(layers[second]):
            among = (f"{name} the best of {_layers(layers[name])}" for name in (first, second))
            yield f"{' and '.join(among)}: a best of more layers can be higher by choice alone"
    mine, theirs = conditions(here), conditions(there)
    for name in ("precision", "solver", "labels"):
        if mine[name] != theirs[name]:
            shown = (one[name] or "not recorded" for one in (mine, theirs))
            yield f"{name} {' and '.join(f'{x} ({who})' for x, who in zip(shown, (first, second)))}"
    k = pair.column.removeprefix("k=")
    if isinstance(here, LowShotRecord):
        draws, others = draws_of(here, k), draws_of(there, k)
        if draws != others:
            yield (
                f"{first} by draws of {_shown(draws)}, {second} by draws of {_shown(others)}: "
                "these were resampled independently, on the same images"
            )
    elif here.seed != there.seed and (seed_matters(here) or seed_matters(there)):
        yield f"{first} is of seed {here.seed}, {second} of seed {there.seed}"


def _layers(names: Sequence[str]) -> str:
    return names[0] + " alone" if len(names) == 1 else ", ".join(names)


def _shown(source: str) -> str:
    """`official:` and a fingerprint, or `seed 0`."""
    kind, _, known = source.partition(":")
    return f"official files {known[:8]}" if known else kind

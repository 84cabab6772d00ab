"""What is said of rows and figures that stand without the table that says it of all of them."""

from collections.abc import Mapping, Sequence

from benchmarks.catalog.records import changes_of
from reports.differing import NOT_RECORDED, own_values, rows_by_condition
from reports.measured import Measured


def changes_by_part(measured: Measured, parts: Mapping[str, str]) -> list[str]:
    """`changes_of` each of `parts`, behind its name where the table's kind has several."""
    return _named(
        measured, parts, {one: changes_of(found[0].record) for one, found in measured.found.items()}
    )


def values_by_part(measured: Measured, parts: Mapping[str, str]) -> list[str]:
    """`own_values` of each of `parts`, behind its name where the table's kind has several."""
    return _named(measured, parts, {one: own_values(measured, one) for one in measured.found})


def conditions_by_part(measured: Measured, parts: Mapping[str, str], name: str) -> list[str]:
    """`row_conditions` of each of `parts`, behind its name where the table's kind has several."""
    return _named(measured, parts, {one: row_conditions(measured, one, name) for one in parts})


def row_conditions(measured: Measured, part: str, name: str) -> list[str]:
    """The conditions in which rows of a part differ, as `precision tf32`: what row `name` has.

    Plain text, for one figure that is shown without the other rows.
    """
    seeds = {
        row.name: {
            seed
            for column, cell in row.cells.items()
            if measured.kind.part(column) == part
            for seed in cell.seeds
        }
        for row in measured.table.rows
    }
    shown = [
        item
        for item in measured.found[part]
        if item.record.seed in seeds.get(item.record.checkpoint.name, ())
    ]
    texts = []
    for condition in ("precision", "solver", "draws", "labels", "layers"):
        rows = rows_by_condition(shown, condition)
        mine = [value or NOT_RECORDED for value, names in rows.items() if name in names]
        if len(rows) > 1 and mine:
            texts.append(f"{condition} {' and '.join(mine)}")
    return texts


def _named(
    measured: Measured, parts: Mapping[str, str], texts: Mapping[str, Sequence[str]]
) -> list[str]:
    many = len(measured.kind.parts) > 1
    joined = {part: ", ".join(of) for part, of in texts.items() if of and part in parts}
    return [f"{parts[part]} {text}" if many else text for part, text in joined.items()]

"""What the pictures of all tables say of the table that they are of."""

from benchmarks.results import Record
from reports.collect import Found, by_name, shown_records
from reports.measured import Measured, of_type
from reports.tables import Cell


def which(item: Measured, seeds: str = "lowest seed") -> str:
    """The table that a picture is of; `seeds` is what it shows where the table has several."""
    several = any(len(cell.seeds) > 1 for row in item.table.rows for cell in row.cells.values())
    partial = "partial data" if item.table.partial else ""
    facts = (f"variant {item.variant}", partial, item.table.number, seeds if several else "")
    return ", ".join(filter(None, facts))


def own(item: Measured) -> str:
    """What sets the names of files apart where the data are a user's own."""
    return f"{item.kind.key}-" if item.kind.own else ""


def bar(cell: Cell) -> tuple[float, float] | None:
    """The interval of a cell."""
    return None if cell.low is None or cell.high is None else (cell.low, cell.high)


def shown(item: Measured, kind: type[Record]) -> dict[str, list[Found]]:
    """The records of one type behind a table, by checkpoint."""
    return by_name(shown_records(of_type(item.found, kind), seeds=False))

"""The tables in other forms: CSV, and the JSON that proves every cell."""

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from reports.collect import Collection, Found, originals
from reports.costs import cost_of, hours_by_row
from reports.document import numbered
from reports.footnotes import footnotes
from reports.measured import Measured
from reports.tables import Cell, Row, Table

SCHEMA = 1
VOLATILE = "run"  # the key in results.json whose content differs between equal results
_CSV_HEADER = (
    *("table", "variant", "name", "config", "column", "value"),
    *("spread", "seeds", "text", "sources", "protocol"),
)


def measured_csv(measured: Sequence[Measured], seeds: bool = False) -> str:
    """What a zoo's records say, with the footnotes of each table."""
    notes = [footnotes(one, seeds) for one in measured]
    return to_csv([one.table for one in measured], notes)


def to_csv(tables: Sequence[Table], notes: Sequence[Sequence[str]] = ()) -> str:
    """One line for each cell, at full precision, so that tables of all kinds share one header.

    Of several tables of one kind and variant each bears its number. `notes`, for each table, are
    Markdown and follow it as lines of the columns `note 1`, `note 2`, ... No two lines share table,
    variant, name and column: a published row that stands beside several measured ones comes once.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    cells = [cell for table in tables for row in table.rows for cell in row.cells.values()]
    bounds = any(cell.low is not None for cell in cells)
    writer.writerow([*_CSV_HEADER, *(("low", "high") if bounds else ())])
    for number, table in enumerate(tables):
        key = f"{table.kind.key} ({table.number})" if table.number else table.kind.key
        rows = [row for at, row in enumerate(table.rows) if row not in table.rows[:at]]
        for row in rows:
            for column in table.columns:
                cell = row.cells.get(column, Cell())
                name = row.alone or f"{row.prefix} {row.name}".strip()
                who = (name, row.link or "", column)
                figures = ("" if x is None else repr(x) for x in (cell.value, cell.spread))
                origin = (" ".join(map(str, cell.seeds)), cell.text or "", " ".join(cell.records))
                start = (key, table.variant)
                ends = ["" if x is None else repr(x) for x in (cell.low, cell.high)]
                proof = [*origin, cell.protocol or "", *(ends if bounds else ())]
                writer.writerow([*start, *who, *figures, *proof])
        for place, line in enumerate(notes[number] if notes else (), 1):
            note = [key, table.variant, "", "", f"note {place}", "", "", "", plain(line), "", ""]
            writer.writerow([*note, *(("", "") if bounds else ())])
    return text.getvalue()


def plain(markdown: str) -> str:
    """A footnote without its Markdown, on one line."""
    text = re.sub(r"\[((?:\\.|[^\]\\]){0,500})\]\((\S*?)\)", r"\1 (\2)", " ".join(markdown.split()))
    text = re.sub(r"\*\*(.+?)\*\*", r"\1", text)
    text = re.sub(r"(?<!\\)(`+) ?(.+?) ?\1", r"\2", text)
    return re.sub(r"\\([^\w\s])", r"\1", text)


def to_json(collection: Collection, measured: Sequence[Measured], seeds: bool, base: Path) -> bytes:
    """`results.json`: every table, and for every cell the records that prove it.

    Paths are relative to `base`.
    """
    shown = {str(item.path): _relative(item.path, base) for item in originals(collection.found)}
    document = {
        "schema": SCHEMA,
        "tables": [
            {
                "table": item.kind.key,
                "title": item.kind.title,
                "variant": item.variant,
                **({"number": numbered(item)} if item.table.number else {}),
                "columns": item.table.columns,
                "rows": [_json_row(row, shown) for row in item.table.rows],
                "notes": footnotes(item, seeds),
            }
            for item in measured
        ],
        "records": {
            shown[str(item.path)]: _provenance(item) for item in originals(collection.found)
        },
        "left_out": collection.skipped,
        VOLATILE: {"device_hours": hours_by_row(collection.found)},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def without_volatile(content: bytes) -> Any:
    """A decoded `results.json` without what differs between equal results; None when malformed."""
    try:
        document = msgspec.json.decode(content)
        for record in document["records"].values():
            record.pop(VOLATILE, None)
        document.pop("left_out")
        document.pop(VOLATILE, None)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
        return None
    return document


def _json_row(row: Row, shown: Mapping[str, str]) -> dict[str, Any]:
    cells = {
        column: {
            "value": cell.value,
            "text": str(cell),
            **({"spread": cell.spread} if cell.spread is not None else {}),
            **({"interval": [cell.low, cell.high]} if cell.low is not None else {}),
            **_chosen_elsewhere(cell),
            "seeds": cell.seeds,
            "records": [shown[path] for path in cell.records],
        }
        for column, cell in row.cells.items()
    }
    mark = {"mark": row.prefix.removesuffix(":")} if row.prefix else {}
    return {"name": row.name, "config": row.link, **mark, "cells": cells}


def _chosen_elsewhere(cell: Cell) -> dict[str, Any]:
    """The figure with its layer and cost chosen on other images, where that is known."""
    if cell.optimism is None or cell.value is None:
        return {}
    found = {"value": cell.value - cell.optimism, "difference": cell.optimism}
    return {"chosen_on_other_images": found}


_PROVENANCE = (
    *("benchmark", "protocol", "protocol_version", "variant", "settings", "checkpoint", "data"),
    *("seed", "versions", "commit", "notes"),
)
_RUN = ("device", "threads", "host", "started", "seconds")


def _provenance(item: Found) -> dict[str, Any]:
    fields = {name: getattr(item.record, name) for name in _PROVENANCE}
    checkpoint = msgspec.to_builtins(item.record.checkpoint)
    for name in ("mean", "std"):  # which older records do not say
        if checkpoint[name] is None:
            del checkpoint[name]
    fields["checkpoint"] = checkpoint
    run = {name: getattr(item.record, name) for name in _RUN}
    return {**fields, VOLATILE: run | cost_of(item.record)}


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()

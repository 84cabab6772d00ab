"""The tables in other forms: CSV, LaTeX (booktabs), and the JSON that proves every cell."""

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
from reports.differing import changes_by_part
from reports.document import numbered
from reports.footnotes import footnotes
from reports.measured import Measured
from reports.tables import (
    FIRST_COLUMN,
    MISSING,
    PART_NAMES,
    Cell,
    Row,
    Table,
    best_values,
    is_best,
    mixed_parts,
    protocols_of,
)

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


def measured_latex(measured: Sequence[Measured], bold: bool = False, seeds: bool = False) -> str:
    """What a zoo's records say, with the footnotes of each table in comments before it."""
    facts = [_facts(one) for one in measured]
    notes = [footnotes(one, seeds) for one in measured]
    return to_latex([one.table for one in measured], bold, facts, notes)


def to_csv(tables: Sequence[Table], notes: Sequence[Sequence[str]] = ()) -> str:
    """One line for each cell, at full precision, so that tables of all kinds share one header.

    Of several tables of one kind and variant each bears its number. `notes`, for each table, are
    Markdown and follow it as lines of the column `note`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    cells = [cell for table in tables for row in table.rows for cell in row.cells.values()]
    bounds = any(cell.low is not None for cell in cells)
    writer.writerow([*_CSV_HEADER, *(("low", "high") if bounds else ())])
    for number, table in enumerate(tables):
        key = f"{table.kind.key} ({table.number})" if table.number else table.kind.key
        for row in table.rows:
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
        for line in notes[number] if notes else ():
            note = [key, table.variant, "", "", "note", "", "", "", plain(line), "", ""]
            writer.writerow([*note, *(("", "") if bounds else ())])
    return text.getvalue()


def _facts(measured: Measured) -> str:
    """What the comment before a LaTeX table says of how it was measured; empty as published."""
    return ", ".join(filter(None, (*changes_by_part(measured, PART_NAMES), numbered(measured))))


def to_latex(
    tables: Sequence[Table],
    bold: bool = False,
    facts: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
) -> str:
    """A booktabs `tabular` for each table, for papers.

    Where a column holds figures of several protocols, each bears a mark that is explained below.
    Comments before each table hold what is known of it: its line of `facts`, and its Markdown
    `notes`.
    """
    return "\n".join(
        _latex_table(table, bold, facts[at] if facts else "", notes[at] if notes else ())
        for at, table in enumerate(tables)
    )


def _latex_table(table: Table, bold: bool, fact: str, notes: Sequence[str]) -> str:
    best = best_values(table) if bold else {}
    numbers = [column for column in table.columns if column != "Best Layer"]
    columns = "l" + "".join("r" if column in numbers else "l" for column in table.columns)
    marks = _marks(table)
    measured = [
        f"{PART_NAMES[part]} by {name or 'a protocol that is not named'}"
        for part in table.kind.parts
        for name in protocols_of(table, part)
    ]
    facts = [table.kind.title, f"variant {table.variant}", *([fact] if fact else []), *measured]
    lines = [
        "% " + " ".join(", ".join(facts).split()),
        *(f"% {plain(note)}" for note in notes),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_line([FIRST_COLUMN, *table.columns]),
        r"\midrule",
    ]
    for row in table.rows:
        cells = [latex_escape(f"{row.prefix} {row.name}".strip())]
        for column in table.columns:
            cell = row.cells.get(column, Cell())
            shown = str(cell)
            text = "--" if shown == MISSING else latex_escape(shown).replace("±", r"$\pm$")
            text = rf"\textbf{{{text}}}" if is_best(row, column, best) else text
            mark = marks.get((table.kind.part(column), cell.protocol))
            marked = mark is not None and cell.value is not None
            cells.append(f"{text}$^{{{mark}}}$" if marked else text)
        lines.append(" & ".join(cells) + r" \\")
    lines.append(r"\bottomrule")
    width = len(table.columns) + 1
    for (part, protocol), mark in marks.items():
        by = "by a protocol that is not named" if protocol is None else f"by {protocol}"
        note = latex_escape(f"{PART_NAMES[part]} {by}")
        lines.append(rf"\multicolumn{{{width}}}{{l}}{{$^{{{mark}}}$ {note}}} \\")
    return "\n".join([*lines, r"\end{tabular}", ""])


def _marks(table: Table) -> dict[tuple[str, str | None], str]:
    """A letter for each protocol of the parts that were measured by several."""
    keys = [(part, name) for part in mixed_parts(table) for name in protocols_of(table, part)]
    return {key: chr(ord("a") + number) for number, key in enumerate(keys)}


def plain(markdown: str) -> str:
    """A footnote without its Markdown, on one line."""
    text = re.sub(r"\[((?:\\.|[^\]\\]){0,500})\]\((\S*?)\)", r"\1 (\2)", " ".join(markdown.split()))
    text = re.sub(r"\*\*(.+?)\*\*", r"\1", text)
    text = re.sub(r"(?<!\\)(`+) ?(.+?) ?\1", r"\2", text)
    return re.sub(r"\\([^\w\s])", r"\1", text)


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(latex_escape(cell) for cell in cells) + r" \\"


_LATEX = {
    "\x00": r"\kern0pt{}",  # between characters that fonts would join; LuaTeX looks through {}
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # a row that starts with [ would be read as the length after a line break
    "]": "{]}",
    "*": "{*}",  # likewise, as the star of a line break
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    '"': r"\texttt{\symbol{34}}",  # straight in typewriter type only
    **{mark: "\\" + mark for mark in "&%$#_{}"},
}


def latex_escape(text: str) -> str:
    """Text that LaTeX prints literally, whatever the font's ligatures; line breaks are blanks.

    Fonts join -- and --- to dashes, ,, << >> to quotes, and ?` !` to Spanish marks.
    """
    plain = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
    apart = re.sub(r"([-,<>])(?=\1)", "\\1\x00", plain)
    return "".join(_LATEX.get(character, character) for character in apart)


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

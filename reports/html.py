"""One self-contained page: sortable tables, their footnotes and the pictures, and no network."""

import base64
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from reports.footnotes import footnotes
from reports.measured import Measured
from reports.pictures import plots
from reports.pictures.curves import Picture
from reports.tables import FIRST_COLUMN, Cell, Row, best_values, is_best, safe_link


def page(measured: Sequence[Measured], pictures: Sequence[Picture], seeds: bool = False) -> bytes:
    """The whole page, UTF-8; the template escapes all that it is given but the footnotes."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", ""), autoescape=True, trim_blocks=True
    )
    # As images the SVGs keep their own ids; inlined they would clash.
    drawn = [
        {"alt": one.alt, "data": base64.b64encode(plots.draw(one, "svg")).decode("ascii")}
        for one in pictures
    ]
    sections = [_section(item, footnotes(item, seeds)) for item in measured]
    text = environment.get_template("page.html").render(sections=sections, pictures=drawn)
    return text.encode("utf-8")


def _section(item: Measured, notes: Sequence[str]) -> dict[str, Any]:
    number = f", {item.table.number}, measured otherwise" if item.table.number else ""
    best = best_values(item.table)
    return {
        "title": f"{item.kind.title} (variant {item.variant}{number})",
        "columns": (FIRST_COLUMN, *item.table.columns),
        "rows": [_row(row, item.table.columns, best) for row in item.table.rows],
        "notes": [_plain_markdown(note) for note in notes],
    }


def _row(row: Row, columns: Sequence[str], best: dict[str, str]) -> dict[str, Any]:
    cells = []
    for column in columns:
        cell = row.cells.get(column, Cell())
        value = cell.text if cell.value is None else cell.value
        cells.append({"value": value, "shown": str(cell), "best": is_best(row, column, best)})
    return {"name": row.name, "prefix": row.prefix, "link": safe_link(row.link), "cells": cells}


def _plain_markdown(note: str) -> Any:
    """The little Markdown that footnotes hold - bold, code, escapes - as HTML."""
    import markupsafe

    text = escape(note, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"(`+) ?(.+?) ?\1", r"<code>\2</code>", text)
    return markupsafe.Markup(re.sub(r"\\(&(?:amp|lt|gt);|[^\w\s])", r"\1", text))

"""One self-contained page: sortable tables, their footnotes and the pictures, and no network."""

import base64
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from reports.document import numbered
from reports.footnotes import footnotes
from reports.measured import Measured
from reports.pictures import plots
from reports.pictures.shapes import Picture, fingerprint
from reports.tables import FIRST_COLUMN, Cell, Row, Table, best_values, is_best, safe_link


def measured_sections(measured: Sequence[Measured], seeds: bool = False) -> list[dict[str, Any]]:
    """The tables of a zoo for the template."""
    sections = []
    for item in measured:
        number = f", {numbered(item)}" if item.table.number else ""
        title = f"{item.kind.title} (variant {item.variant}{number})"
        sections.append(section(title, item.table, footnotes(item, seeds)))
    return sections


def svg(picture: Picture) -> bytes:
    """A picture as it stands in a page."""
    return plots.draw(picture, "svg")


def outline(picture: Picture) -> bytes:
    """In place of a picture: what is compared of it."""
    return f"<dc:identifier>{fingerprint(picture)}</dc:identifier>".encode()


def without_drawings(content: bytes) -> bytes:
    """A page with the fingerprint of each picture in the place of its drawing."""
    return re.sub(rb"(?<=;base64,)[A-Za-z0-9+/=]*", _identifier, content)


def _identifier(found: re.Match[bytes]) -> bytes:
    try:
        drawn = base64.b64decode(found[0])
    except ValueError:
        return b"damaged"
    identifier = re.search(rb"<dc:identifier>([0-9a-f]+)</dc:identifier>", drawn)
    return identifier[1] if identifier else b"unknown"


def page(
    sections: Sequence[dict[str, Any]],
    pictures: Sequence[Picture],
    draw: Callable[[Picture], bytes] = svg,
) -> bytes:
    """The whole page, UTF-8; the template escapes all that it is given but the footnotes."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports.pages", ""), autoescape=True, trim_blocks=True
    )
    # As images the SVGs keep their own ids; inlined they would clash.
    drawn = [
        {"alt": one.alt, "data": base64.b64encode(draw(one)).decode("ascii")} for one in pictures
    ]
    text = environment.get_template("page.html").render(sections=sections, pictures=drawn)
    return text.encode("utf-8")


def section(
    title: str, table: Table, notes: Sequence[str] = (), *, fixed: bool = False
) -> dict[str, Any]:
    """A table for the template, with its Markdown notes; with `fixed` its rows keep their order."""
    best = best_values(table)
    return {
        "title": title,
        "columns": (FIRST_COLUMN, *table.columns),
        "rows": [_row(row, table.columns, best) for row in table.rows],
        "notes": [_plain_markdown(note) for note in (*table.notes, *notes)],
        "fixed": fixed,
    }


def _row(row: Row, columns: Sequence[str], best: dict[str, str]) -> dict[str, Any]:
    cells = []
    for column in columns:
        cell = row.cells.get(column, Cell())
        value = cell.text if cell.value is None else cell.value
        hover = "" if cell.low is None else f"{cell.low:.2f} to {cell.high:.2f}"
        best_here = is_best(row, column, best)
        cells.append({"value": value, "shown": str(cell), "best": best_here, "hover": hover})
    return {"name": row.name, "prefix": row.prefix, "link": safe_link(row.link), "cells": cells}


def _plain_markdown(note: str) -> Any:
    """The little Markdown that footnotes hold - links, bold, code, escapes - as HTML."""
    import markupsafe

    text = re.sub(
        r"\[((?:\\.|[^\]\\]){0,500})\]\((https?://[\w:/?=.%~+#*-]*)\)",
        _anchor,
        escape(note, quote=False),
    )
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"(`+) ?(.+?) ?\1", r"<code>\2</code>", text)
    return markupsafe.Markup(re.sub(r"\\(&(?:amp|lt|gt);|[^\w\s])", r"\1", text))


def _anchor(found: re.Match[str]) -> str:
    return f'<a href="{found[2]}">{found[1]}</a>'

"""One self-contained page: sortable tables, their footnotes and the pictures, and no network."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import msgspec

from reports.document import numbered
from reports.footnotes import footnotes
from reports.measured import Measured
from reports.pictures import plots
from reports.pictures.shapes import Picture, fingerprint
from reports.tables import FIRST_COLUMN, Cell, Row, Table, best_values, is_best, safe_link

if TYPE_CHECKING:
    from reports.confidence.pairs import Pairs


def measured_sections(
    measured: Sequence[Measured], seeds: bool = False, pairs: "Sequence[Pairs]" = ()
) -> list[dict[str, Any]]:
    """The tables of a zoo for the template; with `pairs` of each, two of its rows are compared."""
    sections = []
    for at, item in enumerate(measured):
        number = f", {numbered(item)}" if item.table.number else ""
        title = f"{item.kind.title} (variant {item.variant}{number})"
        made = section(title, item.table, footnotes(item, seeds))
        sections.append(made | {"pairs": _embedded(pairs[at])} if pairs else made)
    return sections


def _embedded(pairs: "Pairs") -> Any:
    """JSON within a script: no text in it can end that."""
    import markupsafe

    return markupsafe.Markup(msgspec.json.encode(pairs).decode().replace("<", "\\u003c"))


def svg(picture: Picture) -> bytes:
    """A picture as it stands in a page."""
    return plots.draw(picture, "svg")


def outline(picture: Picture) -> bytes:
    """In place of a picture: what is compared of it."""
    return f"<dc:identifier>{fingerprint(picture)}</dc:identifier>".encode()


def without_drawings(content: bytes) -> bytes:
    """A page without hours, with the fingerprint of each picture in the place of its drawing."""
    lasting = re.sub(rb"<!-- hours -->.*?<!-- /hours -->\n?", b"", content, flags=re.DOTALL)
    return re.sub(rb"(?<=;base64,)[A-Za-z0-9+/=]*", _identifier, lasting)


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
    hours: Mapping[str, Mapping[str, float]] | None = None,
) -> bytes:
    """The whole page, UTF-8; the template escapes all that it is given but the footnotes.

    `hours` of each row by device are of its runs alone: `--check` does not compare them.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports.pages", ""), autoescape=True, trim_blocks=True
    )
    # As images the SVGs keep their own ids; inlined they would clash.
    drawn = [
        {"alt": one.alt, "data": base64.b64encode(draw(one)).decode("ascii")} for one in pictures
    ]
    text = environment.get_template("page.html").render(
        sections=sections, pictures=drawn, hours=hours or {}
    )
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
        "pairs": None,
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

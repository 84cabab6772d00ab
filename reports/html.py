"""One self-contained page: sortable tables, their footnotes and the pictures, and no network."""

import base64
import re
from collections.abc import Sequence
from html import escape

from reports import plots
from reports.footnotes import footnotes
from reports.measured import Measured
from reports.pictures import Picture
from reports.tables import FIRST_COLUMN, Cell, Row, Table, best_values, is_best

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #444; padding: 0; }
th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0;
  padding: .35rem .7rem; width: 100%; text-align: inherit; cursor: pointer; white-space: nowrap; }
th button:hover, th button:focus-visible { background: #eef3f8; }
th button::after { content: " \\2195"; color: #888; }
th[aria-sort=ascending] button::after { content: " \\2191"; color: #000; }
th[aria-sort=descending] button::after { content: " \\2193"; color: #000; }
tbody tr:hover { background: #f5f7fa; }
.notes { font-size: .85rem; color: #444; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
figure { margin: 0; } img { max-width: 100%; height: auto; }
figcaption { font-size: .85rem; color: #444; }
"""

# Missing figures stay last in both directions; equal rows keep the order of the zoo.
_SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.parentElement;
    const table = header.closest("table");
    const body = table.tBodies[0];
    const descending = header.getAttribute("aria-sort") === "descending" ? false
      : header.getAttribute("aria-sort") === "ascending" || header.cellIndex > 0;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (row) => row.cells[header.cellIndex].dataset.value ?? null;
    const compare = (a, b) => {
      const left = key(a), right = key(b);
      if (left === null || right === null) return (left === null) - (right === null);
      const numbers = Number(left) - Number(right);
      const order = Number.isNaN(numbers) ? (left < right ? -1 : left > right ? 1 : 0) : numbers;
      return (descending ? -order : order) || a.dataset.row - b.dataset.row;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
"""


def page(measured: Sequence[Measured], pictures: Sequence[Picture], seeds: bool = False) -> bytes:
    """The whole page, UTF-8."""
    sections = "".join(_section(item, footnotes(item, seeds)) for item in measured)
    drawn = "".join(_figure(picture) for picture in pictures)
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Model zoo</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Model zoo</h1>
<p>Percent. Click a column's name to sort by it.</p>
{sections or "<p>No results yet.</p>"}
<h2>Pictures</h2>
<div class="pictures">
{drawn or "<p>None.</p>"}
</div>
<script>{_SCRIPT}</script>
</body>
</html>
"""
    return text.encode("utf-8")


def _section(item: Measured, notes: Sequence[str]) -> str:
    number = f", {item.table.number}, measured otherwise" if item.table.number else ""
    title = f"{item.kind.title} (variant {item.variant}{number})"
    lines = "".join(f"<li>{_plain_markdown(note)}</li>\n" for note in notes)
    return (
        f'<h2>{escape(title)}</h2>\n<div class="scroll">\n{_table(item.table)}</div>\n'
        f'<ul class="notes">\n{lines}</ul>\n'
    )


def _table(table: Table) -> str:
    best = best_values(table)
    heads = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>'
        for name in (FIRST_COLUMN, *table.columns)
    )
    rows = []
    for number, row in enumerate(table.rows):
        cells = "".join(
            _cell(row.cells.get(column, Cell()), is_best(row, column, best))
            for column in table.columns
        )
        rows.append(f'<tr data-row="{number}">{_first_cell(row)}{cells}</tr>\n')
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table>\n"


def _first_cell(row: Row) -> str:
    name = escape(row.name)
    safe = row.link is not None and (
        re.match(r"https?://", row.link) or not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", row.link)
    )
    shown = f'<a href="{escape(row.link or "")}">{name}</a>' if safe else name
    return f'<td data-value="{name}">{escape(row.prefix)} {shown}</td>'


def _cell(cell: Cell, best: bool) -> str:
    value = repr(cell.value) if cell.value is not None else cell.text
    data = "" if value is None else f' data-value="{escape(value)}"'
    shown = escape(str(cell))
    return f"<td{data}>{f'<strong>{shown}</strong>' if best else shown}</td>"


def _figure(picture: Picture) -> str:
    # As an image each SVG keeps its own ids; inlined they would clash.
    data = base64.b64encode(plots.draw(picture, "svg")).decode("ascii")
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{escape(picture.alt)}">'
        f"<figcaption>{escape(picture.alt)}</figcaption></figure>\n"
    )


def _plain_markdown(note: str) -> str:
    """The little Markdown that footnotes hold - bold, code, escapes - as HTML."""
    text = escape(note, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"(`+) ?(.+?) ?\1", r"<code>\2</code>", text)
    return re.sub(r"\\(&(?:amp|lt|gt);|[^\w\s])", r"\1", text)

"""The pictures of a run in one HTML page that needs no other file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: 0; } h2 { font-size: 1.15em; margin-top: 2em; }
figure { margin: 1em 0; } img { max-width: 100%; height: auto; }
figcaption, .said { color: #555; font-size: .9em; }
table { border-collapse: collapse; font-size: .85em; } summary { cursor: pointer; }
td, th { padding: .15em 1em .15em 0; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; }
"""


@dataclass(frozen=True)
class Figure:
    """One picture of a run: its file's name, what stands above and below it, and the PNG."""

    name: str
    title: str
    caption: str
    png: bytes


def page_of(
    title: str,
    said: str,
    figures: Sequence[Figure],
    numbers: Mapping[str, object],
    clusters: Sequence[Sequence[str]],
) -> str:
    """The page: figures, the table of clusters (its head first), the numbers of the recipe."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f'<h1>{escape(title)}</h1><p class="said">{escape(said)}</p>',
    ]
    for figure in figures:
        source = f"data:image/png;base64,{base64.b64encode(figure.png).decode()}"
        parts.append(
            f"<h2>{escape(figure.title)}</h2><figure>"
            f'<img alt="{escape(figure.title)}" src="{source}">'
            f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
        )
    if clusters:
        parts.append(_folded("All clusters", clusters))
    rows = [("number", "value"), *((name, str(value)) for name, value in numbers.items())]
    parts.append(_folded("Numbers of the recipe", rows))
    return "\n".join((*parts, "</body></html>\n"))


def _folded(title: str, rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    cells = [
        "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in [("th", head), *(("td", row) for row in body)]
    ]
    return (
        f"<h2>{escape(title)}</h2><details><summary>{len(body)} rows</summary>"
        f"<table>{''.join(cells)}</table></details>"
    )

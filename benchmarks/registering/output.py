"""What the commands print: aligned rows, lines, and JSON where it is asked for."""

import sys
from typing import TextIO

from benchmarks.checkpoints.cards import Card
from benchmarks.checkpoints.wording import shown
from slurm.outputs import write_json

Rows = list[tuple[str, ...]]
LONGEST_CELL = 1000  # characters


def rows_of(card: Card) -> Rows:
    """What a card says, a row each."""
    rows: Rows = [
        ("name", card.name),
        ("architecture", card.label),
        ("weights", card.weights),
        ("mean", ", ".join(map(str, card.mean))),
        ("std", ", ".join(map(str, card.std))),
    ]
    optional = (("method", card.method), ("config", card.config), ("source", card.source))
    rows += [(key, value) for key, value in (*optional, ("format", card.format)) if value]
    return rows + [("note", note) for note in card.all_notes]


def output(json: str | None, content: bytes, rows: Rows) -> None:
    """The JSON where it belongs, and rows as aligned columns."""
    if json:
        write_json(json, content)
    rows = [tuple(shown(cell, LONGEST_CELL) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        print(line, file=_stream(json))


def output_lines(json: str | None, lines: list[str]) -> None:
    """Lines on stdout, or on stderr when the JSON goes to stdout."""
    for line in lines:
        print(shown(line, LONGEST_CELL), file=_stream(json))


def _stream(json: str | None) -> TextIO:
    return sys.stderr if json == "-" else sys.stdout

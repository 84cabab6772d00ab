"""The tables for papers: LaTeX (booktabs)."""

import re
import textwrap
from collections.abc import Sequence

from reports.document import numbered
from reports.footnotes import footnotes, printed_notes
from reports.formats.alone import changes_by_part
from reports.formats.exports import plain
from reports.measured import Measured
from reports.tables import (
    FIRST_COLUMN,
    MISSING,
    PART_NAMES,
    Cell,
    Table,
    best_values,
    is_best,
    mixed_parts,
    protocols_of,
)

LINE = 100  # characters of one below a table: about the width of a page


def measured_latex(measured: Sequence[Measured], bold: bool = False, seeds: bool = False) -> str:
    """What a zoo's records say, with the footnotes of each table in comments before it.

    Those that its figures may not stand without are printed below it, too.
    """
    facts = [_facts(one) for one in measured]
    notes = [footnotes(one, seeds, bold) for one in measured]
    printed = [printed_notes(one, seeds, bold) for one in measured]
    return to_latex([one.table for one in measured], bold, facts, notes, printed)


def _facts(measured: Measured) -> str:
    """What the comment before a LaTeX table says of how it was measured; empty as published."""
    return ", ".join(filter(None, (*changes_by_part(measured, PART_NAMES), numbered(measured))))


def to_latex(
    tables: Sequence[Table],
    bold: bool = False,
    facts: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
    printed: Sequence[Sequence[str]] = (),
) -> str:
    """A booktabs `tabular` for each table that has rows, for papers.

    Where a column holds figures of several protocols, each bears a mark that is explained below.
    Comments before each table hold what is known of it: its line of `facts`, and its Markdown
    `notes`. Those in `printed` stand below it for its readers.
    """
    return "\n".join(
        _latex_table(
            table,
            bold,
            facts[at] if facts else "",
            notes[at] if notes else (),
            printed[at] if printed else (),
        )
        for at, table in enumerate(tables)
    )


def _latex_table(
    table: Table, bold: bool, fact: str, notes: Sequence[str], printed: Sequence[str]
) -> str:
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
    comments = ["% " + " ".join(", ".join(facts).split()), *(f"% {plain(one)}" for one in notes)]
    if not table.rows:  # all were left out, as the comments say
        return "\n".join([*comments, ""])
    lines = [
        *comments,
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
            text = "--" if shown == MISSING else _text(shown)
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
    for note in printed:
        # Lines of its own: a cell that breaks them would need a width, which is that of the table.
        for line in textwrap.wrap(plain(note), LINE):
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{{_text(line)}}} \\")
    return "\n".join([*lines, r"\end{tabular}", ""])


def _marks(table: Table) -> dict[tuple[str, str | None], str]:
    """A letter for each protocol of the parts that were measured by several."""
    keys = [(part, name) for part in mixed_parts(table) for name in protocols_of(table, part)]
    return {key: chr(ord("a") + number) for number, key in enumerate(keys)}


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


def _text(text: str) -> str:
    """Escaped text with the sign of its spreads, which is none of TeX's text fonts."""
    return latex_escape(text).replace("±", r"$\pm$")


def latex_escape(text: str) -> str:
    """Text that LaTeX prints literally, whatever the font's ligatures; line breaks are blanks.

    Fonts join -- and --- to dashes, ,, << >> to quotes, and ?` !` to Spanish marks.
    """
    plain = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
    apart = re.sub(r"([-,<>])(?=\1)", "\\1\x00", plain)
    return "".join(_LATEX.get(character, character) for character in apart)

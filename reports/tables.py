"""The tables of the model zoos: what they hold, and their Markdown, byte for byte.

Pure functions on plain values. A cell without a figure is `-`; figures have two decimals, those of
k-NN one, as the zoos print them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote

from benchmarks.catalog.benchmark import ZooTable
from benchmarks.catalog.listed import LISTED

FEATURES = tuple(f"feature{stage}" for stage in range(1, 6))
SHOTS = (1, 2, 4, 8, 16, 32, 64, 96)  # the columns of the published tables
FIRST_COLUMN = "Self-Supervised Config"
MISSING = "-"
BEST = "AvgPool (best)"  # the column of the best epoch, which is shown when asked for


@dataclass(frozen=True)
class Cell:
    """One figure, percent at full precision, and where it comes from."""

    value: float | None = None
    spread: float | None = None  # sample standard deviation over seeds
    seeds: tuple[int, ...] = ()
    records: tuple[str, ...] = ()  # the files that prove it
    text: str | None = None  # printed instead of the value: a layer's name, a difference
    protocol: str | None = None  # by which the figure was measured; None where that is not known
    low: float | None = None  # of its interval over test images, and high
    high: float | None = None
    best: bool = False  # the best of its column, or not separable from it
    optimism: float | None = None  # by how much choosing on the test images raises the figure
    decimals: int = 2  # that are printed

    def __str__(self) -> str:
        if self.text is not None:
            return self.text
        if self.value is None:
            return MISSING
        spread = self.spread
        if self.low is not None and self.high is not None:
            spread = (self.high - self.low) / 2
        shown = f"{self.value:.{self.decimals}f}"
        return shown if spread is None else f"{shown} ± {spread:.{self.decimals}f}"

    @property
    def mean(self) -> str:
        """The printed value alone; empty without one."""
        return "" if self.value is None else f"{self.value:.{self.decimals}f}"


@dataclass(frozen=True)
class Row:
    """One checkpoint; `cells` by column, those that are absent are missing."""

    name: str
    link: str | None
    cells: dict[str, Cell] = field(default_factory=dict)
    prefix: str = ""  # plain text before the link
    alone: str = ""  # what it is called where the rows around it are not seen; empty: as here

    def by_seeds(self, columns: Sequence[str]) -> dict[tuple[int, ...], list[str]]:
        """Those of `columns` that have a figure, by the seeds that it is of."""
        found: dict[tuple[int, ...], list[str]] = {}
        for name in columns:
            cell = self.cells.get(name)
            if cell is not None and cell.value is not None:
                found.setdefault(cell.seeds, []).append(name)
        return found


@dataclass(frozen=True)
class Kind:
    """A table of the zoo: its name in markers, its heading, its parts and their columns."""

    key: str
    title: str
    layout: Literal["columns", "best layer"]  # see catalog.benchmark.ZooTable
    parts: tuple[str, ...]  # benchmarks whose figures stand side by side
    columns: tuple[str, ...]
    owners: tuple[str, ...]  # the part of each column
    own: str | None = None  # what the user calls the data, where they are their own
    decimals: int = 2  # of its figures

    def part(self, column: str) -> str:
        """The benchmark that measures a column; other k than those listed are of the last one."""
        if column in self.columns:
            return self.owners[self.columns.index(column)]
        return self.part("AvgPool") if column == BEST else self.parts[-1]

    def columns_of(self, part: str) -> tuple[str, ...]:
        """The columns that a benchmark measures."""
        return tuple(name for name, owner in zip(self.columns, self.owners) if owner == part)


@dataclass(frozen=True)
class Table:
    """A table of one kind, of one variant, with what a reader must know below it."""

    kind: Kind
    variant: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()  # Markdown, one footnote each
    number: str = ""  # "1 of 2" where rows of one kind and variant were measured otherwise
    partial: str = ""  # what marks the rows where the data are not the real ones


def _kind(table: ZooTable) -> Kind:
    """The table with the parts and columns of all benchmarks that stand in it."""
    members = [one for one in LISTED if one.table == table]
    pairs = [(column, one.name) for one in members for column in one.columns]
    columns, owners = zip(*pairs)
    parts = tuple(one.name for one in members)
    shown = table.decimals
    return Kind(table.key, table.title, table.layout, parts, columns, owners, decimals=shown)


_KINDS = {one.table.key: _kind(one.table) for one in LISTED}
_OWN = {one.table.key for one in LISTED if one.dataset == "own"}
KINDS: dict[str, Kind] = {key: kind for key, kind in _KINDS.items() if key not in _OWN}
PART_NAMES = {one.name: one.part for one in LISTED}  # what footnotes call the columns of a part


def in_order(columns: Sequence[str], further: Sequence[str]) -> list[str]:
    """The columns of a table and further ones; by number where all have one, as in `k=5`."""
    every = [*columns, *further]
    prefixes = {column.rstrip("0123456789") for column in every}
    if not further or len(prefixes) > 1:
        return every
    (prefix,) = prefixes
    return sorted(every, key=lambda column: int(column.removeprefix(prefix)))


def own_kinds(name: str) -> list[Kind]:
    """The tables of the data that a user calls `name`."""
    kinds = [(key.removeprefix("own-"), kind) for key, kind in _KINDS.items() if key in _OWN]
    return [
        replace(kind, key=f"own-{name}-{what}", title=f"{name} {kind.title}", own=name)
        for what, kind in kinds
    ]


def markdown(table: Table, bold: bool = False) -> str:
    """The Markdown of a table, without a heading; `bold` marks the best value of a column."""
    best = best_values(table) if bold else {}
    rows = []
    for row in table.rows:
        texts = [_first_cell(row)]
        for column in table.columns:
            text = escape(str(row.cells.get(column, Cell())))
            texts.append(f"**{text}**" if is_best(row, column, best) else text)
        rows.append(texts)
    return format_table([FIRST_COLUMN, *table.columns], rows)


def signed(points: float) -> str:
    """A difference in percent points as it is printed; what rounds to nothing is +0.00."""
    return f"{round(points, 2) + 0.0:+.2f}"


def protocols_of(table: Table, part: str) -> dict[str | None, list[Row]]:
    """The rows with figures of a part, by the protocol that measured them, in their order."""
    found: dict[str | None, list[Row]] = {}
    for row in table.rows:
        for column, cell in row.cells.items():
            if table.kind.part(column) == part and cell.value is not None:
                rows = found.setdefault(cell.protocol, [])
                if not rows or rows[-1] is not row:
                    rows.append(row)
    return found


def mixed_parts(table: Table) -> list[str]:
    """The parts whose columns hold figures of more than one protocol."""
    return [part for part in table.kind.parts if len(protocols_of(table, part)) > 1]


def best_values(table: Table) -> dict[str, str]:
    """The best printed mean of each column with at least two figures, all of one protocol."""
    best = {}
    mixed = mixed_parts(table)
    for column in table.columns:
        if table.kind.part(column) in mixed:
            continue
        cells = [cell for row in table.rows if (cell := row.cells.get(column))]
        known = [(cell.value, cell.mean) for cell in cells if cell.value is not None]
        if len(known) > 1:
            best[column] = max(known)[1]
    return best


def is_best(row: Row, column: str, best: dict[str, str]) -> bool:
    """Whether the row's printed figure equals the best one, or is not separable from it."""
    cell = row.cells.get(column)
    if cell is None or cell.value is None or column not in best:
        return False
    return cell.best or cell.mean == best[column]


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A left-aligned pipe table whose rule has a space on both sides of the dashes.

    The header goes in as a first row above a separating line: tabulate pads real headers by
    `MIN_PADDING`, which would make columns two characters too wide, and parses numbers, which
    would drop the trailing zero of 70.00.
    """
    import tabulate  # here, as it costs a fifth of the time that --help may take

    # Widths are counted in characters, whether or not wcwidth happens to be installed.
    tabulate.WIDE_CHARS_MODE = False
    zoo = tabulate.TableFormat(
        lineabove=None,
        linebelowheader=tabulate.Line("| ", "-", " | ", " |"),
        linebetweenrows=None,
        linebelow=None,
        headerrow=None,
        datarow=tabulate.DataRow("| ", " | ", " |"),
        padding=0,
        with_header_hide=None,
    )
    lines = [list(header), tabulate.SEPARATING_LINE, *(list(row) for row in rows)]
    text: str = tabulate.tabulate(
        lines, tablefmt=zoo, disable_numparse=True, colglobalalign="left", stralign="left"
    )
    return text


_ESCAPED = re.compile(r"[\\|\[\]`*<>~&]|(?<![^\W_])_|_(?![^\W_])")


def escape(text: str) -> str:
    """Text that Markdown shows literally inside a table cell; line breaks become spaces."""
    plain = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
    return _ESCAPED.sub(lambda match: "\\" + match.group(), plain)


def code(text: str) -> str:
    """Text as a Markdown code span, whatever backticks it holds."""
    plain = " ".join(text.split())
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{ticks}{pad}{plain}{pad}{ticks}"


def link(text: str, target: str | None) -> str:
    """A Markdown link, or the escaped text alone without a target."""
    if target is None:
        return escape(text)
    return f"[{escape(text)}]({quote(target, safe=_URL_SAFE)})"


def safe_link(target: str | None) -> str | None:
    """`target` if it may be linked: http(s) or a path, printable, not absurdly long; else None."""
    if not target or len(target) > _LONGEST_LINK or not target.isprintable():
        return None
    return target if _SAFE_LINK.match(target) else None


_LONGEST_LINK = 2000  # characters
_SAFE_LINK = re.compile(r"https?://|(?!\s|[a-z][a-z0-9+.-]*:)", re.IGNORECASE)
_URL_SAFE = "/:?#@!$&'*+,;=~%-._"  # not ( ) [ ] | < > " ` \ or blanks


def _first_cell(row: Row) -> str:
    shown = link(row.name, safe_link(row.link))
    return f"{escape(row.prefix)} {shown}" if row.prefix else shown

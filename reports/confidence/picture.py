"""The differences of a comparison, with their intervals, as one picture."""

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.confidence.paired import Column
from reports.pictures.style import COLOURS, DOTS, MARKERS, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDEST = 58  # characters of a line beside the axis


def draw(columns: Sequence[Column], form: str) -> bytes:
    """The picture as `svg` or `png`; equal columns give equal bytes."""
    from matplotlib import rc_context, style

    content = io.BytesIO()
    with rc_context(), style.context(["default", STYLE]):
        drawn(columns).savefig(content, format=form, dpi=DOTS, metadata=_metadata(form))
    return content.getvalue()


def drawn(columns: Sequence[Column]) -> "Figure":
    """A line for each column of a table: how much the other rows are better than the first.

    A marker is filled where the interval leaves out 0.
    """
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys(one.second for one in columns))
    places = {label: at for at, label in enumerate(dict.fromkeys(map(_label, columns)))}
    lines = [textwrap.fill(label, WIDEST) for label in places]
    most = max(line.count("\n") + 1 for line in lines)  # of text in one place: as high are all
    height = 1.9 + 0.3 * max(1, 0.5 * len(rows), 0.6 * most) * len(places) + 0.22 * len(rows)
    figure = Figure(figsize=(8.5, height), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="black", linewidth=1, zorder=1)
    for number, name in enumerate(rows):
        offset = (number - (len(rows) - 1) / 2) * min(0.6 / len(rows), 0.2)
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        for one in columns:
            if one.second == name:
                reach = (one.difference - one.low, one.high - one.difference)
                axes.errorbar(
                    [one.difference],
                    [places[_label(one)] + offset],
                    xerr=[[max(end, 0)] for end in reach],
                    color=colour,
                    marker=marker,
                    markersize=6,
                    markerfacecolor=colour if one.separable else "white",
                    elinewidth=1.2,
                    capsize=2.5,
                    zorder=2,
                )
        axes.plot([], [], color=colour, marker=marker, linestyle="none", label=name)
    axes.set_yticks(range(len(lines)), lines, fontsize=9)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    first = columns[0].first
    title = f"{rows[0]} less {first}" if len(rows) == 1 else f"other rows less {first}"
    figure.suptitle(textwrap.fill(title, 2 * WIDEST), x=0.01, ha="left", fontsize=11)
    # Short lines: beside long names little of the figure is left to the axis.
    axes.set_xlabel("percent points, paired 95 % interval\n(filled: it leaves out 0)")
    if len(rows) > 1:
        figure.legend(loc="outside lower left")
    return figure


def _label(one: Column) -> str:
    variant = "" if one.variant == "mmselfsup" else f" ({one.variant})"
    return f"{one.title}{variant}, {one.column}"


def _metadata(form: str) -> dict[str, str | None]:
    """Nothing that changes from run to run."""
    return {"Date": None} if form == "svg" else {"Software": None}

"""The differences of a comparison, with their intervals, as one picture."""

import io
from collections.abc import Sequence

from reports.confidence.paired import Column


def draw(columns: Sequence[Column], form: str) -> bytes:
    """A row for each column, from `first` being better on the left to `second` on the right."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "reports", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 1 + 0.3 * len(columns)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color="0.6", linewidth=1)
        for place, one in enumerate(columns):
            colour = "tab:blue" if one.separable else "0.5"
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=2)
            axes.plot([one.difference], [place], "o", color=colour)
        many = len({one.second for one in columns}) > 1
        labels = [
            f"{one.title}, {one.column}" + (f": {one.second}" if many else "") for one in columns
        ]
        axes.set_yticks(range(len(columns)), labels, fontsize=8)
        axes.invert_yaxis()
        than = columns[0].first if many else f"{columns[0].second} less {columns[0].first}"
        axes.set_xlabel(
            f"less {than}, percent points (95 % paired interval)"
            if many
            else f"{than}, percent points (95 % paired interval)"
        )
        content = io.BytesIO()
        figure.savefig(content, format=form, dpi=150, metadata=_metadata(form))
    return content.getvalue()


def _metadata(form: str) -> dict[str, str | None]:
    """Nothing that changes from run to run."""
    return {"Date": None} if form == "svg" else {"Software": None}

"""Draw pictures with matplotlib, the same bytes each time: SVG without dates, and PNG.

Each file holds the fingerprint of what it shows, by which a stale one is known.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.pictures.shapes import Curve, Panel, Picture, SureCurve, fingerprint
from reports.pictures.style import COLOURS, DASHES, DOTS, HATCHES, MARKERS, STYLE
from slurm.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = ("svg", "png")
MOST_TICKS = 10  # of a logarithmic axis, one a value; beyond them one a decade
REACH = 0.5  # of one place of an axis, which the points of all rows share where they have bars


def write(folder: Path, pictures: Iterable[Picture]) -> None:
    """Draw each picture as `NAME.svg` and `NAME.png` in `folder`."""
    for picture in pictures:
        for suffix in SUFFIXES:
            with atomic_path(folder / f"{picture.name}.{suffix}") as temporary:
                temporary.write_bytes(draw(picture, suffix))


def problem(folder: Path, picture: Picture, suffix: str) -> str | None:
    """What is wrong with a picture's file in `folder`: missing, or of other figures; else None."""
    path = folder / f"{picture.name}.{suffix}"
    if not path.is_file():
        return f"{path} is missing"
    if fingerprint(picture).encode() not in path.read_bytes():
        return f"{path} is stale: it was drawn from other figures, or by an earlier version"
    return None


def draw(picture: Picture, suffix: str) -> bytes:
    """The bytes of a picture as `svg` or `png`; equal pictures give equal bytes."""
    import io

    from matplotlib import rc_context, style
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    content = fingerprint(picture)
    metadata: dict[str, str | None] = {"Software": None, "Fingerprint": content}
    if suffix == "svg":  # which takes the fields of Dublin Core alone
        metadata = {"Date": None, "Creator": None, "Identifier": content}
    with rc_context(), style.context(["default", STYLE]):
        figure = Figure(figsize=_size(picture), layout="constrained")
        _fill(figure, picture)
        figure.savefig(stream, format=suffix, dpi=DOTS, metadata=metadata)
    return stream.getvalue()


def _size(picture: Picture) -> tuple[float, float]:
    lines = max((len(panel.curves) for panel in picture.panels), default=1)
    if picture.panels and picture.panels[0].sideways:
        return 6.4, 1.6 + 0.26 * len(picture.panels[0].ticks) + 0.22 * lines
    return (6.4 if len(picture.panels) == 1 else 9.6), 3.8 + 0.22 * lines


def _fill(figure: "Figure", picture: Picture) -> None:
    all_axes = figure.subplots(1, len(picture.panels), squeeze=False)[0]
    for axes, panel in zip(all_axes, picture.panels):
        for number, curve in enumerate(panel.curves):
            if panel.sideways:
                _draw_dots(axes, curve, number, len(panel.curves))
            else:
                _draw_line(axes, panel, curve, number)
        _label(axes, panel)


def _draw_line(axes: "Axes", panel: Panel, curve: Curve, number: int) -> None:
    colour = COLOURS[number % len(COLOURS)]
    places = places_of(panel, curve, number)
    x: list[float] = list(places)
    y: list[float] = list(curve.y)
    if panel.gap_after is not None:
        later = [position for position in curve.x if position > panel.gap_after]
        if later:
            x.insert(len(x) - len(later), panel.gap_after + 0.5)
            y.insert(len(y) - len(later), float("nan"))
    axes.plot(
        x,
        y,
        color=colour,
        linestyle=DASHES[number % len(DASHES)],
        linewidth=1.8,
        marker=MARKERS[number % len(MARKERS)],
        markersize=5.5,
        markevery=max(1, -(-len(x) // 12)),  # dashes must stay visible between markers
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=curve.label,
        zorder=3,
    )
    _draw_bars(axes, curve, places, curve.y, colour)
    if curve.low:
        axes.fill_between(
            places,
            curve.low,
            curve.high,
            facecolor=colour,
            edgecolor=colour,
            alpha=0.22,
            linewidth=0.6,
            hatch=HATCHES[number % len(HATCHES)],
            zorder=1,
        )


def places_of(panel: Panel, curve: Curve, number: int) -> list[float]:
    """Where the points of a row stand: beside those of the others where there are bars to see."""
    count = len(panel.curves)
    if not any(isinstance(one, SureCurve) for one in panel.curves):
        return list(curve.x)
    offset = (number - (count - 1) / 2) * min(REACH / count, 0.08)
    return [x * 2**offset if panel.log_x else x + offset for x in curve.x]


def _draw_dots(axes: "Axes", curve: Curve, number: int, count: int) -> None:
    offset = (number - (count - 1) / 2) * min(0.6 / max(count, 1), 0.2)
    places = [position + offset for position in curve.x]
    _draw_bars(axes, curve, curve.y, places, COLOURS[number % len(COLOURS)], sideways=True)
    axes.plot(
        curve.y,
        places,
        color=COLOURS[number % len(COLOURS)],
        linestyle="none",
        marker=MARKERS[number % len(MARKERS)],
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=curve.label,
        zorder=3,
    )


def _draw_bars(
    axes: "Axes",
    curve: Curve,
    x: Sequence[float],
    y: Sequence[float],
    colour: str,
    *,
    sideways: bool = False,
) -> None:
    """The intervals of the points that have one; they reach along x where these lie `sideways`."""
    for at, bar in enumerate(curve.bars if isinstance(curve, SureCurve) else ()):
        if bar is not None:
            value = x[at] if sideways else y[at]
            reach = [[max(value - bar[0], 0)], [max(bar[1] - value, 0)]]
            axes.errorbar(
                [x[at]],
                [y[at]],
                xerr=reach if sideways else None,
                yerr=None if sideways else reach,
                fmt="none",
                ecolor=colour,
                elinewidth=1.2,
                capsize=2.5,
                zorder=2,
            )


def _label(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xlabel(panel.y_label if panel.sideways else panel.x_label)
    if not panel.sideways:
        axes.set_ylabel(panel.y_label)
    if panel.log_x:
        _label_log_x(axes, sorted({x for curve in panel.curves for x in curve.x}))
    elif panel.sideways:
        axes.set_yticks(range(len(panel.ticks)), panel.ticks)
        axes.set_ylim(len(panel.ticks) - 0.4, -0.6)
    elif panel.ticks:
        axes.set_xticks(range(len(panel.ticks)), panel.ticks)
        axes.set_xlim(-0.3, len(panel.ticks) - 0.7)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(left=min(x for curve in panel.curves for x in curve.x) - 0.3)
    if panel.log_y:
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter(ScalarFormatter())
        top = max(y for curve in panel.curves for y in curve.y)
        axes.set_ylim(-0.15, 2 * top + 1)  # half a marker below zero, room above
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.16 if not panel.sideways else -0.1), ncols=1
    )


def _label_log_x(axes: "Axes", values: Sequence[float]) -> None:
    """A tick for each value, or for each decade of many."""
    from matplotlib.ticker import LogLocator, NullLocator

    if len(values) > MOST_TICKS:
        axes.set_xscale("log", base=10)
        axes.xaxis.set_major_locator(LogLocator(base=10, numticks=MOST_TICKS + 2))
        return
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())

"""Draw pictures with matplotlib, the same bytes each time: SVG without dates, and PNG.

Each file holds the fingerprint of what it shows, by which a stale one is known.

Colours are those of Okabe and Ito (2008), told apart by colour-blind readers; markers and dashes
tell the lines apart in grey.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from reports.pictures.shapes import Curve, Panel, Picture, fingerprint
from slurm.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = ("svg", "png")
COLOURS = ("#000000", "#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
MARKERS = "osD^vPX*"
DASHES: tuple[tuple[int, tuple[int, ...]], ...] = (
    (0, ()),
    (0, (5, 2)),
    (0, (1, 1.5)),  # type: ignore[assignment]
    (0, (6, 2, 1, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
HATCHES = ("", "//", "..", "\\\\", "xx")
_STYLE = {
    "svg.hashsalt": "deepcluster-bench",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def write(folder: Path, pictures: Iterable[Picture]) -> None:
    """Draw each picture as `NAME.svg` and `NAME.png` (160 dots an inch) in `folder`."""
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
    with rc_context(), style.context(["default", _STYLE]):
        figure = Figure(figsize=_size(picture), layout="constrained")
        _fill(figure, picture)
        figure.savefig(stream, format=suffix, dpi=160, metadata=metadata)
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
    x: list[float] = list(curve.x)
    y: list[float] = list(curve.y)
    if panel.gap_after is not None:
        later = [position for position in x if position > panel.gap_after]
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
    if curve.low:
        axes.fill_between(
            curve.x,
            curve.low,
            curve.high,
            facecolor=colour,
            edgecolor=colour,
            alpha=0.22,
            linewidth=0.6,
            hatch=HATCHES[number % len(HATCHES)],
            zorder=1,
        )


def _draw_dots(axes: "Axes", curve: Curve, number: int, count: int) -> None:
    offset = (number - (count - 1) / 2) * min(0.6 / max(count, 1), 0.2)
    axes.plot(
        curve.y,
        [position + offset for position in curve.x],
        color=COLOURS[number % len(COLOURS)],
        linestyle="none",
        marker=MARKERS[number % len(MARKERS)],
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=curve.label,
        zorder=3,
    )


def _label(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xlabel(panel.y_label if panel.sideways else panel.x_label)
    if not panel.sideways:
        axes.set_ylabel(panel.y_label)
    if panel.log_x:
        shots = sorted({x for curve in panel.curves for x in curve.x})
        axes.set_xscale("log", base=2)
        axes.set_xticks(shots, [f"{shot:g}" for shot in shots])
        axes.xaxis.set_minor_locator(NullLocator())
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

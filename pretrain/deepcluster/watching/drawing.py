"""Curves and purities of a run as PNG, the same bytes each time.

Colours are those of Okabe and Ito (2008), told apart by colour-blind readers.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pretrain.deepcluster.watching.history import History
from pretrain.deepcluster.watching.purity import Cluster, mean_purity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, ORANGE, BLUE, GREEN = "#000000", "#D55E00", "#0072B2", "#009E73"
DOTS = 200  # an inch
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}

# Panels of the curves: title, unit of the axis, lines of the history with their names, log scale.
Line = tuple[str, str, str, str]  # column, name, colour, dashes
_PANELS: tuple[tuple[str, str, tuple[Line, ...], bool], ...] = (
    ("Loss", "cross-entropy", (("loss", "", BLACK, "-"),), False),
    (
        "Agreement of clusters",
        "NMI",
        (
            ("nmi_previous", "with the previous ones", BLUE, "-"),
            ("nmi_labels", "with the labels", ORANGE, "--"),
        ),
        False,
    ),
    (
        "k-means",
        "mean squared distance",
        (("kmeans_objective", "", BLACK, "-"),),
        False,
    ),
    (
        "Sizes of clusters",
        "images",
        (
            ("largest", "largest", ORANGE, "--"),
            ("median", "median", BLACK, "-"),
            ("smallest", "smallest", BLUE, ":"),
        ),
        True,
    ),
    ("Empty clusters", "clusters", (("empty", "", BLACK, "-"),), False),
    ("Nearest neighbours", "top-1 (%)", (("knn_top1", "", GREEN, "-"),), False),
    ("Learning rate", "", (("learning_rate", "", BLACK, "-"),), False),
    (
        "Seconds an epoch",
        "s",
        (
            ("seconds", "in all", BLACK, "-"),
            ("seconds_features", "features", BLUE, "--"),
            ("seconds_clustering", "clustering", ORANGE, ":"),
        ),
        False,
    ),
    ("Training", "images/s", (("images_per_second", "", BLACK, "-"),), False),
)


def draw_curves(history: History) -> bytes:
    """The history by epoch, a panel for each of its numbers that there is and that changes."""
    panels = [panel for panel in _PANELS if any(_points(history, line[0]) for line in panel[2])]
    panels = [panel for panel in panels if not _says_nothing(history, panel[2])]
    columns = 2 if len(panels) < 5 else min((4, 3), key=lambda width: -len(panels) % width)
    rows = -(-len(panels) // columns)
    with _style():
        figure = _figure(3.1 * columns, 2.25 * rows)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, (title, unit, lines, log) in zip(axes, panels, strict=False):
            _draw_panel(axis, history, lines, log=log)
            axis.set_title(title)
            axis.set_ylabel(unit)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        for axis in axes[max(0, len(panels) - columns) : len(panels)]:
            axis.set_xlabel("epoch")
        return _png(figure)


def draw_purity(clusters: Sequence[Cluster], by_epoch: dict[int, float]) -> bytes:
    """The purity of each cluster: ranked, against its size, and the mean by epoch."""
    purities = sorted((100 * (one.purity or 0.0) for one in clusters), reverse=True)
    with _style():
        figure = _figure(9.3, 2.7)
        ranked, sized, mean = figure.subplots(1, 3)
        ranked.step(range(1, len(purities) + 1), purities, where="mid", color=BLUE)
        ranked.fill_between(
            range(1, len(purities) + 1), purities, step="mid", color=BLUE, alpha=0.15
        )
        ranked.set(title="Purity of each cluster", xlabel="clusters, the purest first")
        sized.scatter(
            [one.images for one in clusters],
            [100 * (one.purity or 0.0) for one in clusters],
            s=9,
            color=BLUE,
            alpha=0.5,
            linewidths=0,
        )
        sized.set(title="Purity and size", xlabel="images in the cluster")
        if max(one.images for one in clusters) > 10 * min(one.images for one in clusters):
            sized.set_xscale("log")
        mean.plot(
            by_epoch.keys(), [100 * value for value in by_epoch.values()], "o-", color=BLUE, ms=3
        )
        mean.set(title="Mean purity", xlabel="epoch trained on these clusters")
        _whole_numbers(mean)
        for axis in (ranked, sized, mean):
            axis.set_ylim(0, 103)
        ranked.set_ylabel("images of its largest class (%)")
        ranked.annotate(
            f"mean over images {100 * mean_purity(list(clusters)):.1f} %",
            (0.06, 0.07),
            xycoords="axes fraction",
            fontsize=8,
        )
        return _png(figure)


def _draw_panel(axis: "Axes", history: History, lines: tuple[Line, ...], *, log: bool) -> None:
    for column, name, colour, dashes in lines:
        points = _points(history, column)
        if points:
            marker = "o" if len(points) < 25 else ""
            epochs, values = zip(*points)
            axis.plot(epochs, values, dashes, color=colour, label=name, marker=marker, ms=2.5)
    heights = [value for line in lines for _, value in _points(history, line[0])]
    low, high = min(heights), max(heights)
    log = log and low > 0 and high > 10 * low
    if log:
        axis.set_yscale("log")
    if any(name for _, name, _, _ in lines):  # room above the lines for the legend
        axis.set_ylim((low / 1.5, high * (high / low) ** 0.5) if log else (0, 1.45 * high or 1.0))
        axis.legend(loc="upper left", borderpad=0, labelspacing=0.2)
    _whole_numbers(axis)


def _points(history: History, column: str) -> list[tuple[int, float]]:
    """(epoch, value) where there is one."""
    values = enumerate(history.get(column, []), start=1)
    return [(epoch, value) for epoch, value in values if isinstance(value, int | float)]


def _says_nothing(history: History, lines: tuple[Line, ...]) -> bool:
    """Whether it is one line that never moves off zero or off its first value."""
    if len(lines) > 1 or lines[0][0] not in ("empty", "learning_rate"):
        return False
    return len({value for _, value in _points(history, lines[0][0])}) < 2


def _whole_numbers(axis: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _style() -> AbstractContextManager[None]:
    from matplotlib import style

    return style.context(["default", _STYLE])


def _png(figure: "Figure") -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DOTS, metadata={"Software": None})
    return stream.getvalue()

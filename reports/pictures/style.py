"""How all pictures look.

Colours are those of Okabe and Ito (2008), told apart by colour-blind readers; markers and dashes
tell the lines apart in grey.
"""

DOTS = 160  # an inch, of PNG
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
STYLE = {
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

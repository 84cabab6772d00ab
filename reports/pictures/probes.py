"""The pictures of probes: top-1 by layer, by the number of queries, over the rates of a grid."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.results import ProbeRecord
from reports.measured import Measured
from reports.pictures.rows import bar, own, shown, which
from reports.pictures.shapes import Curve, Panel, Picture, sure
from reports.tables import BEST, FEATURES, Row


def layers(item: Measured) -> Picture:
    """Top-1 by column, a line for each row."""
    columns = _columns(item)
    curves = [_row_curve(row, columns) for row in item.table.rows]
    panel = Panel(
        f"{item.kind.title}, {which(item, 'mean over seeds')}",
        "",
        "top-1 (%)",
        tuple(curve for curve in curves if curve.x),
        tuple(columns),
        gap_after=len(FEATURES) - 1 if FEATURES[-1].capitalize() in columns else None,
    )
    alt = f"{item.kind.title} ({which(item, 'mean over seeds')}): top-1 accuracy by layer"
    return Picture(f"layers-{item.kind.key}-{item.variant}", alt, (panel,))


def _columns(item: Measured) -> list[str]:
    """The layers, those of the features or those behind the last one where any was measured."""
    known = {
        column
        for row in item.table.rows
        for column, cell in row.cells.items()
        if cell.value is not None and column != BEST  # no layer of its own
    }
    features = {column.lower() in FEATURES for column in known}
    return [
        column
        for column in item.table.columns
        if column != BEST and (column.lower() in FEATURES) in features
    ]


def _row_curve(row: Row, columns: Sequence[str]) -> Curve:
    points = [
        (float(position), cell.value, bar(cell))
        for position, column in enumerate(columns)
        if (cell := row.cells.get(column)) and cell.value is not None
    ]
    curve = Curve(row.name, tuple(x for x, _, _ in points), tuple(y for _, y, _ in points))
    return sure(curve, [interval for _, _, interval in points])


def blocks(item: Measured) -> Picture:
    """Top-1 after each block, a line for each row."""
    columns = item.table.columns
    curves = [_row_curve(row, columns) for row in item.table.rows]
    numbered = tuple(replace(curve, x=tuple(x + 1 for x in curve.x)) for curve in curves)
    title = f"{item.kind.title}, {which(item, 'mean over seeds')}"
    panel = Panel(title, "block", "top-1 (%)", numbered)
    alt = f"{item.kind.title} ({which(item, 'mean over seeds')}): top-1 accuracy by block"
    return Picture(f"blocks-{own(item)}{item.variant}", alt, (panel,))


def queries(item: Measured) -> Picture:
    """Top-1 of attentive heads over their number of queries, a line for each row."""
    curves = []
    for row in item.table.rows:
        cells = {int(column.removeprefix("EP")): cell for column, cell in row.cells.items()}
        points = [(float(count), cell.value, bar(cell)) for count, cell in sorted(cells.items())]
        known = [(x, y, interval) for x, y, interval in points if y is not None]
        curve = Curve(row.name, tuple(x for x, _, _ in known), tuple(y for _, y, _ in known))
        curves.append(sure(curve, [interval for _, _, interval in known]))
    title = f"{item.kind.title}, {which(item, 'mean over seeds')}"
    panel = Panel(title, "learned queries", "top-1 (%)", tuple(curves), log_x=True)
    alt = f"{item.kind.title} ({which(item, 'mean over seeds')}): top-1 accuracy over the queries"
    return Picture(f"attentive-{own(item)}{item.variant}", alt, (panel,))


def grids(item: Measured) -> Iterator[Picture]:
    """Of each row with a grid, top-1 of every head over its learning rates."""
    for name, found in shown(item, ProbeRecord).items():
        curves = [
            curve
            for one in found
            if isinstance(one.record, ProbeRecord)
            for curve in _grid_curves(one.record)
        ]
        title = f"{name}: {item.kind.title}, {which(item)}"
        panel = Panel(title, "learning rate", "top-1 (%)", tuple(curves), log_x=True)
        alt = f"{name}, {item.kind.title} ({which(item)}): top-1 accuracy over the learning rate"
        yield Picture(f"grid-{item.kind.key}-{item.variant}-{name}", alt, (panel,))


def _grid_curves(record: ProbeRecord) -> Iterator[Curve]:
    """A line for each head and weight decay that was tried at several learning rates."""
    by_decay: dict[float, dict[float, dict[str, float]]] = {}
    for point in record.grid:
        figures = {tap: head.top1 for tap, head in point.heads.items()}
        by_decay.setdefault(point.weight_decay, {})[point.learning_rate] = figures
    several = {decay: rates for decay, rates in by_decay.items() if len(rates) > 1}
    for tap in record.heads:
        for decay, rates in several.items():
            points = sorted((rate, one[tap]) for rate, one in rates.items() if tap in one)
            label = f"{tap}, weight decay {decay:g}" if len(several) > 1 else tap
            if points:
                yield Curve(label, *zip(*points))

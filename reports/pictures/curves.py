"""What each picture shows: curves found in tables, records and cards, not yet drawn."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.knn.record import KnnRecord
from benchmarks.logreg.record import LogregRecord
from benchmarks.results import LowShotRecord, VocSvmRecord
from reports.collect import Collection
from reports.measured import Measured, best_layer, of_type
from reports.pictures.probes import blocks, grids, layers, queries
from reports.pictures.rows import bar, own, shown, which
from reports.pictures.shapes import Bounds, Curve, Panel, Picture, SureCurve, sure
from reports.tables import FEATURES, Cell

MOST_CURVES = 12


def pictures(
    measured: Sequence[Measured], collection: Collection, bounds: Bounds | None = None
) -> list[Picture]:
    """All pictures that the tables and cards of a zoo give.

    Points have the intervals of their cells; `bounds` has those of figures that are in no cell.
    """
    found: list[Picture] = []
    known = bounds or {}
    for item in measured:
        if item.kind.layout == "best layer":
            found += [_svm_layers(item, known), _low_shot(item), _classes(item, known)]
        elif of_type(item.found, KnnRecord):
            found.append(_neighbours(item))
        elif of_type(item.found, LogregRecord):
            found += _regression(item)
        elif "EP1" in item.kind.columns:
            found.append(queries(item))
        elif "Block1" in item.kind.columns:
            found += [blocks(item), *grids(item)]
        else:
            found += [layers(item), *grids(item)]
    found += [_pretraining(name, card.pretraining) for name, card in collection.cards.items()]
    drawn = [_said(one) for one in found if any(panel.curves for panel in one.panels)]
    return _with_unique_names([_with_few_curves(picture) for picture in drawn])


def _said(picture: Picture) -> Picture:
    """In words, too, that there are intervals."""
    curves = [curve for panel in picture.panels for curve in panel.curves]
    if not any(isinstance(curve, SureCurve) for curve in curves):
        return picture
    return replace(picture, alt=f"{picture.alt}; bars are 95 % intervals over test images")


def _data(item: Measured) -> str:
    return item.kind.own or "VOC07"


def _neighbours(item: Measured) -> Picture:
    curves = []
    for name, found in shown(item, KnnRecord).items():
        record = found[0].record
        assert isinstance(record, KnnRecord)
        by_k = sorted((float(k), figure.top1) for k, figure in record.k.items())
        curves.append(Curve(name, *zip(*by_k)))
    title = f"{item.kind.title}, {which(item)}"
    panel = Panel(title, "neighbours, k", "top-1 (%)", tuple(curves), log_x=True)
    alt = f"{item.kind.title} ({which(item)}): top-1 accuracy over k"
    return Picture(f"knn-{own(item)}{item.variant}", alt, (panel,))


def _regression(item: Measured) -> list[Picture]:
    path, few = [], []
    for name, found in shown(item, LogregRecord).items():
        record = found[0].record
        assert isinstance(record, LogregRecord)
        points = ((one.cost, one.top1) for one in record.path)
        path.append(Curve(name, *zip(*points)))
        shots = sorted((float(k), one.mean, one.min, one.max) for k, one in record.shots.items())
        few += [Curve(name, *zip(*shots))] if shots else []
    title, whole = f"{item.kind.title}, {which(item)}", f"{item.kind.title} ({which(item)})"
    costs = Panel(title, "C", "top-1 (%)", tuple(path), log_x=True)
    labels = Panel(title, "labels of each class", "top-1 (%)", tuple(few), log_x=True)
    stem = f"{own(item)}{item.variant}"
    band = "with the band from the lowest to the highest draw"
    return [
        Picture(f"logreg-costs-{stem}", f"{whole}: top-1 accuracy over the cost C", (costs,)),
        Picture(
            f"logreg-few-{stem}", f"{whole}: top-1 accuracy with few labels, {band}", (labels,)
        ),
    ]


def _svm_layers(item: Measured, bounds: Bounds) -> Picture:
    curves = []
    for name, found in shown(item, VocSvmRecord).items():
        record = found[0].record
        assert isinstance(record, VocSvmRecord)
        points = [
            (float(position), record.layers[layer].map, bounds.get((str(found[0].path), layer)))
            for position, layer in enumerate(FEATURES)
            if layer in record.layers
        ]
        curve = Curve(name, tuple(x for x, _, _ in points), tuple(y for _, y, _ in points))
        curves.append(sure(curve, [bar for _, _, bar in points]))
    ticks = tuple(layer.capitalize() for layer in FEATURES)
    title = f"{_data(item)} SVM, {which(item)}"
    alt = f"{_data(item)} SVM ({which(item)}): mAP by layer"
    panel = Panel(title, "", "test mAP (%)", tuple(curves), ticks)
    return Picture(f"layers-{item.kind.key}-{item.variant}", alt, (panel,))


def _low_shot(item: Measured) -> Picture:
    curves = []
    svm = shown(item, VocSvmRecord)
    rows = {row.name: row.cells for row in item.table.rows}
    for name, found in shown(item, LowShotRecord).items():
        record = found[0].record
        assert isinstance(record, LowShotRecord)
        layer = best_layer(svm.get(name, ())) or str(rows[name].get("Best Layer", ""))
        if layer not in record.layers:
            continue
        shots = sorted((int(k), shot) for k, shot in record.layers[layer].shots.items())
        curve = Curve(
            f"{name} ({layer})",
            tuple(float(k) for k, _ in shots),
            tuple(shot.mean for _, shot in shots),
            tuple(shot.min for _, shot in shots),
            tuple(shot.max for _, shot in shots),
        )
        curves.append(sure(curve, [bar(rows[name].get(f"k={k}", Cell())) for k, _ in shots]))
    title = f"{_data(item)} low-shot SVM, {which(item)}"
    panel = Panel(title, "positives per class, k", "test mAP (%)", tuple(curves), log_x=True)
    alt = (
        f"{_data(item)} low-shot SVM ({which(item)}): mean mAP over k, with the band from the "
        "lowest to the highest draw"
    )
    return Picture(f"low-shot-{own(item)}{item.variant}", alt, (panel,))


def _classes(item: Measured, bounds: Bounds) -> Picture:
    by_name = shown(item, VocSvmRecord)
    first = next((found[0].record for found in by_name.values()), None)
    classes = first.classes if isinstance(first, VocSvmRecord) else ()
    curves = []
    for name, found in by_name.items():
        record = found[0].record
        assert isinstance(record, VocSvmRecord)
        if record.classes == classes:
            values = record.layers[record.best_layer].ap
            positions = tuple(float(number) for number in range(len(values)))
            curve = Curve(f"{name} ({record.best_layer})", positions, values)
            path = str(found[0].path)
            bars = [bounds.get((path, f"{record.best_layer}.{one}")) for one in classes]
            curves.append(sure(curve, bars))
    title = f"{_data(item)} SVM by class, {which(item)}"
    panel = Panel(title, "", "test AP (%)", tuple(curves), tuple(classes), sideways=True)
    alt = f"{_data(item)} SVM ({which(item)}): average precision of each class at the best layer"
    return Picture(f"classes-{own(item)}{item.variant}", alt, (panel,))


def _pretraining(name: str, pretraining: dict[str, Any]) -> Picture:
    history = _columns(pretraining.get("history"))
    sizes = {
        label: values
        for label, keys in {
            "largest": ("largest", "max"),
            "median": ("median",),
            "smallest": ("smallest", "min"),
            "empty clusters": ("empty",),
        }.items()
        if (values := next((history[key] for key in keys if key in history), None))
    }
    nmi = {
        label: history[key]
        for label, key in {
            "against labels": "nmi_labels",
            "against the previous clusters": "nmi_previous",
        }.items()
        if key in history
    }
    # Before both were kept, the plain names held the arithmetic form.
    mean = "geometric" if "nmi_labels_arithmetic" in history else "arithmetic"
    panels = (
        Panel("Agreement of the clusters", "epoch", f"NMI ({mean} mean)", _curves(nmi)),
        Panel(
            "Sizes of the clusters", "epoch", "images (empty: clusters)", _curves(sizes), log_y=True
        ),
    )
    alt = (
        f"Pretraining of {name}: mutual information of the clusters with the previous ones and "
        "with labels, and the sizes of the clusters, by epoch"
    )
    return Picture(f"pretraining-{name}", alt, tuple(panel for panel in panels if panel.curves))


def _columns(history: object) -> dict[str, list[Any]]:
    """A history by column, whether it is stored by epoch or by column; {} for anything else."""
    if isinstance(history, list):
        flat = [
            {**entry, **(sizes if isinstance(sizes := entry.get("sizes"), dict) else {})}
            for entry in history
            if isinstance(entry, dict)
        ]
        keys = dict.fromkeys(key for entry in flat for key in entry)
        return {key: [entry.get(key) for entry in flat] for key in keys}
    if isinstance(history, dict):
        return {key: list(value) for key, value in history.items() if isinstance(value, list)}
    return {}


def _curves(columns: dict[str, list[Any]]) -> tuple[Curve, ...]:
    curves = []
    for label, values in columns.items():
        points = [
            (float(epoch), float(value))
            for epoch, value in enumerate(values, 1)
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        if points:
            curves.append(Curve(label, tuple(x for x, _ in points), tuple(y for _, y in points)))
    return tuple(curves)


def _with_few_curves(picture: Picture) -> Picture:
    """More than `MOST_CURVES` rows cannot be told apart: the first ones, and the title says so."""
    panels = tuple(
        replace(
            panel,
            title=f"{panel.title} ({MOST_CURVES} of {len(panel.curves)} rows)",
            curves=panel.curves[:MOST_CURVES],
        )
        if len(panel.curves) > MOST_CURVES
        else panel
        for panel in picture.panels
    )
    return replace(picture, panels=panels)


def _with_unique_names(found: Sequence[Picture]) -> list[Picture]:
    """Tables of one kind and variant may be several: number their pictures."""
    seen: dict[str, int] = {}
    named = []
    for picture in found:
        seen[picture.name] = seen.get(picture.name, 0) + 1
        suffix = f"-{seen[picture.name]}" if seen[picture.name] > 1 else ""
        named.append(replace(picture, name=f"{picture.name}{suffix}"))
    return named

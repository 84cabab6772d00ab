"""What choosing on the test images is worth: the same figures with choices made on other images.

Published tables take the layer with the best test mAP, and in low-shot columns the cost with the
best mean test mAP. Here both are chosen on one half of the test images and judged on the other,
both ways, in the mean over splits. Compared with it is the published choice on the same halves, so
that nothing but the choice differs: a half has fewer images, which alone would change an mAP. The
difference also holds what it costs to choose on half as many images; where every half chooses what
the whole set does it is 0.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.outcomes.files import SPLITS, read_outcomes
from benchmarks.outcomes.halves import both_halves, other_halves
from benchmarks.results import LowShotRecord, VocSvmRecord
from reports.collect import Collection, Found, originals
from reports.confidence.figures import figures, sources, test_split
from reports.confidence.kept import kept_path, read_kept, write_kept
from reports.confidence.resampling import Floats
from reports.measured import Measured
from reports.tables import Cell, Row, escape, signed
from slurm.errors import UserError

SHOWN_ROWS = 12  # in the footnote
HALVES = 2 * SPLITS


def with_choices(measured: Sequence[Measured], collection: Collection) -> list[Measured]:
    """The tables with what each figure would be had its choices not seen the images it is of."""
    # A choice is among the layers of all records that were joined, in whichever a figure lies.
    found = {str(one.path): item for item in collection.found for one in originals([item])}
    return [
        _table(item, found, collection) if item.kind.layout == "best layer" else item
        for item in measured
    ]


def optimism(layers: dict[str, Floats], shown: str, by_cost: dict[str, Floats], cost: int) -> float:
    """How much lower the figure of low-shot SVMs is when layer and cost are chosen on other images.

    `layers` holds by layer what chooses among them, (HALVES,); `by_cost` by layer mAP (costs,
    HALVES); `shown` and `cost` are the layer and the cost of the table. Percent points.
    """
    names = list(layers)
    chosen = np.stack(list(layers.values())).argmax(0)  # the first of equals
    judged = np.empty(HALVES)
    for half, at in enumerate(chosen):
        maps = by_cost[names[at]]
        judged[half] = other_halves(maps)[maps[:, half].argmax(), half]
    return float(np.mean(other_halves(by_cost[shown])[cost] - judged))


def halves_of(found: Found, collection: Collection) -> dict[str, Floats]:
    """The mAP on halves of the test images, percent: of each layer (HALVES,), or by cost.

    Of a joined record those of all its parts. What they do not hold is left out. Kept beside the
    intervals.
    """
    united: dict[str, Floats] = {}
    for part in originals([found]):
        united = _halves(part, collection) | united  # of a layer in two parts the first's is shown
    return united


def _halves(found: Found, collection: Collection) -> dict[str, Floats]:
    """Of one record as it lies in the zoo."""
    record = found.record
    if record.outcomes is None or test_split(found).images < 2:
        return {}
    values = {figure.name: figure.value for figure in figures(found)}
    path = kept_path(collection.zoo, record, values, "halves")
    made = read_kept(path, HALVES)
    if made:
        return made
    split = test_split(found)
    if isinstance(record, VocSvmRecord):
        width = np.uint16 if split.images < 2**16 else np.int32
        counts = np.ascontiguousarray(both_halves(split.images, split.sha256).T.astype(width))
        made = {name: resample(counts, 0) for name, resample in sources(found).items()}
    elif isinstance(record, LowShotRecord):
        tensors = read_outcomes(found.path, record.outcomes, split)
        made = {
            name.removesuffix(".halves"): array.astype(np.float64)
            for name, array in tensors.items()
            if name.endswith(".halves")
        }
    if made:
        write_kept(path, made)
    return made


def _table(item: Measured, found: dict[str, Found], collection: Collection) -> Measured:
    rows = tuple(_row(row, found, collection) for row in item.table.rows)
    shown = replace(item, table=replace(item.table, rows=rows))
    return replace(shown, choices=_note(shown))


def _row(row: Row, found: dict[str, Found], collection: Collection) -> Row:
    records = {
        column: found[cell.records[0]]
        for column, cell in row.cells.items()
        if cell.value is not None and len(cell.records) == 1
    }
    svm = records.pop("SVM", None)
    layers = halves_of(svm, collection) if svm is not None else {}
    shown = str(row.cells.get("Best Layer", ""))
    cells = dict(row.cells)
    if svm is not None and isinstance(svm.record, VocSvmRecord):
        if set(layers) != set(svm.record.layers):
            return row  # a layer that is not there cannot be chosen
        layers = {name: layers[name] for name in svm.record.layers}
        maps = {name: one[None] for name, one in layers.items()}
        cells["SVM"] = _with(cells["SVM"], optimism(layers, shown, maps, 0))
    for column, low_shot in records.items():
        if isinstance(low_shot.record, LowShotRecord):
            known = _by_cost(low_shot, halves_of(low_shot, collection), column.removeprefix("k="))
            chooses = layers or _low_shot_layers(low_shot, collection)
            if chooses and set(chooses) <= set(known) and shown in known:
                cost = low_shot.record.layers[shown].shots[column.removeprefix("k=")]
                at = list(cost.by_cost).index(repr(cost.cost))
                cells[column] = _with(cells[column], optimism(chooses, shown, known, at))
    return replace(row, cells=cells)


def _with(cell: Cell, found: float) -> Cell:
    """Halves without any positive give no figure, and none is shown."""
    return replace(cell, optimism=found) if np.isfinite(found) else cell


def _by_cost(found: Found, halves: dict[str, Floats], k: str) -> dict[str, Floats]:
    """By layer the mAP (costs, HALVES) of one k, of the layers that have it."""
    record = found.record
    assert isinstance(record, LowShotRecord)
    known = {}
    for layer, shots in record.layers.items():
        maps = halves.get(f"{layer}.k={k}")
        if maps is not None and k in shots.shots:
            if len(maps) != len(shots.shots[k].by_cost):
                raise UserError(f"the outcomes of {found.path} are of other costs than it says")
            known[layer] = maps
    return known


def _low_shot_layers(found: Found, collection: Collection) -> dict[str, Floats]:
    """Without an SVM the layer is the best at the highest k, each at its best cost."""
    record = found.record
    assert isinstance(record, LowShotRecord)
    top = str(max(int(k) for layer in record.layers.values() for k in layer.shots))
    known = _by_cost(found, halves_of(found, collection), top)
    every = {layer for layer, one in record.layers.items() if top in one.shots}
    return {layer: maps.max(0) for layer, maps in known.items()} if set(known) == every else {}


def _note(item: Measured) -> str:
    """What the table's figures are without looking, as a footnote; empty where nothing is known."""
    rows = [(row, _known(row)) for row in item.table.rows]
    known = [f"{escape(row.name)}: {_said(row, cells)}" for row, cells in rows if cells]
    lacking = [
        row.name
        for row, cells in rows
        if any(row.cells[name].value is not None for name in row.cells if name not in cells)
    ]
    texts = [*known[:SHOWN_ROWS]]
    if len(known) > SHOWN_ROWS:
        texts.append(f"those of {len(known) - SHOWN_ROWS} more rows by --format json")
    if lacking and known:
        names = escape(", ".join(lacking[:SHOWN_ROWS]))
        texts.append(
            f"not known of all figures of {names}, whose records keep too little of other layers "
            "or costs"
        )
    if not known:
        return ""
    return (
        "**Chosen on other images**: layer, and cost of low-shot SVMs, chosen on one half of the "
        f"test images and judged on the other, both ways, mean of {SPLITS} splits drawn from the "
        "hash of their list; the difference is to the table's choice on the same halves. "
        f"{'; '.join(texts)}."
    )


def _known(row: Row) -> dict[str, Cell]:
    return {name: cell for name, cell in row.cells.items() if cell.optimism is not None}


def _said(row: Row, cells: dict[str, Cell]) -> str:
    return ", ".join(
        f"{name} {cell.value - cell.optimism:.2f} ({signed(-cell.optimism)})"
        for name, cell in cells.items()
        if cell.value is not None and cell.optimism is not None
    )

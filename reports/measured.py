"""From result records to tables: which figures stand side by side, and which must not.

Rows share a table only when they were measured alike: the same variant, protocol, version,
settings and data. Anything else makes a table of its own.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.catalog.listed import BENCHMARKS, PROTOCOLS
from benchmarks.catalog.own import own_name
from benchmarks.catalog.partial import partial_record
from benchmarks.protocols import VARIANTS
from benchmarks.results import LowShotRecord, ProbeRecord, Record, Split, VocSvmRecord
from reports.clashes.alike import differing, measurement, order, shots_of
from reports.collect import Collection, Found, by_name, chosen, originals
from reports.seeds import seed_matters
from reports.tables import BEST, FEATURES, KINDS, SHOTS, Cell, Kind, Row, Table, in_order, own_kinds

_NO_SPREAD = 0.005  # prints as 0.00
_PLACES = {name: place for place, name in enumerate(PROTOCOLS)}


@dataclass(frozen=True)
class Measured:
    """Records that may share a table, by part of its kind; `table` is what they show."""

    kind: Kind
    variant: str
    found: dict[str, tuple[Found, ...]]  # by benchmark
    table: Table
    remarks: tuple[str, ...] = ()  # what the cards of its rows say to a reader of the figures
    intervals: str = ""  # what its intervals are, as a footnote; empty without any
    bold: str = ""  # and what bold figures are beside these, another sentence of it
    choices: str = ""  # what its figures are with choices made on other images, as a footnote
    others: tuple["Measured", ...] = ()  # of its kind and variant, but measured otherwise


def measured_tables(
    collection: Collection,
    *,
    seeds: bool = False,
    best: bool = False,
    link: Callable[[str], str | None] = lambda config: config,
) -> list[Measured]:
    """All tables of a zoo, those of users' own data last.

    `link` turns a checkpoint's config into the target of its row. Without `seeds` each cell is of
    the lowest seed, with it the mean over all seeds. With `best` AvgPool of the best epoch stands
    beside that of the last one.
    """
    links = _links(collection, link)
    tables = []
    for kind in (*KINDS.values(), *_own_kinds(collection.found)):
        for variant in _variants(collection.found):
            groups = _groups(kind, variant, collection.found)
            alike: list[Measured] = []
            for number, group in enumerate(groups, 1):
                table = _table(kind, variant, group, links, seeds, best)
                if len(groups) > 1:
                    table = replace(table, number=f"{number} of {len(groups)}")
                if mark := _mark(group):
                    rows = (replace(row, prefix=f"{mark}:") for row in table.rows)
                    table = replace(table, partial=mark, rows=tuple(rows))
                remarks = tuple(
                    f"{row.name}: {note}"
                    for row in table.rows
                    if row.name in collection.cards
                    for note in collection.cards[row.name].all_notes
                )
                alike.append(Measured(kind, variant, group, table, remarks))
            tables += [
                replace(item, others=tuple(one for one in alike if one is not item))
                for item in alike
            ]
    return tables


def _mark(group: Mapping[str, Sequence[Found]]) -> str:
    """What marks figures that are not of the real data; a group is of one data."""
    return next((mark for found in group.values() if (mark := partial_record(found[0].record))), "")


def of_type(parts: Mapping[str, Sequence[Found]], kind: type[Record]) -> list[Found]:
    """The records of one type, of whichever parts they are."""
    return [item for found in parts.values() for item in found if isinstance(item.record, kind)]


def best_layer(found: Sequence[Found]) -> str | None:
    """The layer with the best mean SVM mAP over the given records, the first among equals."""
    records = [item.record for item in found if isinstance(item.record, VocSvmRecord)]
    if len(records) == 1:
        return records[0].best_layer
    shared = [name for name in FEATURES if all(name in record.layers for record in records)]
    if not records or not shared:
        return None
    return max(shared, key=lambda name: sum(record.layers[name].map for record in records))


def _variants(found: Sequence[Found]) -> list[str]:
    present = {item.record.variant for item in found}
    known = [name for name in VARIANTS if name in present]
    return known + sorted(present.difference(known))


def _groups(kind: Kind, variant: str, found: Sequence[Found]) -> list[dict[str, tuple[Found, ...]]]:
    """Split the records of one kind and variant into sets that may share a table."""
    groups: list[dict[str, tuple[Found, ...]]] = []
    for part in kind.parts:
        alike: dict[bytes, list[Found]] = {}
        for item in found:
            record = item.record
            if record.variant == variant and record.benchmark == part and _is_of(record, kind):
                alike.setdefault(item.measurement, []).append(item)
        free = [group for group in groups if part not in group]
        for items in sorted(alike.values(), key=_newest_first):
            data = [group for group in free if _same_data(group, items[0].record)]
            partners = [group for group in data if "precision" not in _unlike(group, items[0])]
            partner = min(partners, key=lambda x: len(_unlike(x, items[0])), default=None)
            if partner is None:
                groups.append({part: tuple(items)})
            else:
                free.remove(partner)
                partner[part] = tuple(items)
    return sorted(groups, key=lambda group: bool(_mark(group)))  # the real data first


def _is_of(record: Record, kind: Kind) -> bool:
    return kind.own is None or own_name(record) == kind.own


def _own_kinds(found: Sequence[Found]) -> list[Kind]:
    records = (item.record for item in found)
    names = {own_name(one) for one in records if BENCHMARKS[one.benchmark].dataset == "own"}
    return [kind for name in sorted(names) for kind in own_kinds(name)]


def _newest_first(items: Sequence[Found]) -> tuple[object, ...]:
    """The order of groups: the model-zoo suite's protocols come before others of their version.

    Of those that their conditions alone tell apart: the most rows, then the most figures.
    """
    record = items[0].record
    place = _PLACES.get(record.protocol, len(_PLACES))
    measured = (-record.protocol_version, place, record.protocol, measurement(record))
    return (*measured, -len(by_name(items)), *order(record), items[0].measurement)


def _unlike(group: Mapping[str, Sequence[Found]], item: Found) -> set[str]:
    """The conditions that tell tables apart in which another part was measured otherwise."""
    other = next(iter(group.values()))[0]
    return {*item.apart, *other.apart} & {*differing(item.record, other.record)} - {"shots"}


def _same_data(group: Mapping[str, Sequence[Found]], record: Record) -> bool:
    other: dict[str, Split] = next(iter(group.values()))[0].record.data
    return all(other[name] == split for name, split in record.data.items() if name in other)


def _links(collection: Collection, link: Callable[[str], str | None]) -> dict[str, str | None]:
    links: dict[str, str | None] = {}
    for item in collection.found:
        name = item.record.checkpoint.name
        card = collection.cards.get(name)
        config = card.config if card and card.config else item.record.checkpoint.config
        if links.get(name) is None:
            links[name] = link(config) if config else None
    return links


def _table(
    kind: Kind,
    variant: str,
    group: dict[str, tuple[Found, ...]],
    links: dict[str, str | None],
    seeds: bool,
    best: bool,
) -> Table:
    columns = list(kind.columns)
    if kind.layout == "columns":
        columns = in_order(columns, _further_columns(kind, group))
    else:
        found = {k for item in of_type(group, LowShotRecord) for k in shots_of(item.record)}
        published = () if kind.own else SHOTS  # a dash there is a figure that others have
        columns = [*columns[:2], *(f"k={shot}" for shot in sorted({*found, *published}))]
    rows = []
    grouped = {part: by_name(items) for part, items in group.items()}
    for name in links:
        parts = {
            part: chosen(items[name], seeds) for part, items in grouped.items() if name in items
        }
        if parts:
            layered = kind.layout == "best layer"
            cells = _best_layer_cells(parts) if layered else _column_cells(kind, parts)
            if best and "AvgPool" in columns:
                cells |= _best_epoch(parts)
            rows.append(Row(name, links[name], cells))
    if len(columns) > len(kind.columns) and kind.layout == "columns":  # other ones were chosen
        columns = [name for name in columns if any(name in row.cells for row in rows)]
    if any(BEST in row.cells for row in rows):
        columns.insert(columns.index("AvgPool") + 1, BEST)
    return Table(kind, variant, tuple(columns), tuple(rows))


def _column_cells(kind: Kind, parts: dict[str, list[Found]]) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for part, found in parts.items():
        of = BENCHMARKS[part].figures
        figures = [(item, of(item.record)) for item in found] if of else []
        further = _further_columns(kind, {part: found})
        for column in (*kind.columns_of(part), *further):
            cell = _cell((item, values[column]) for item, values in figures if column in values)
            if cell is not None:
                cells[column] = replace(cell, decimals=kind.decimals)
    return cells


def _further_columns(kind: Kind, group: Mapping[str, Sequence[Found]]) -> list[str]:
    """Of figures that the columns of a table of one benchmark do not name, such as another k."""
    if len(kind.parts) > 1:
        return []
    of = BENCHMARKS[kind.parts[0]].figures
    records = [item.record for found in group.values() for item in found]
    named = [column for record in records for column in (of(record) if of else ())]
    return [column for column in dict.fromkeys(named) if column not in kind.columns]


def _best_epoch(parts: dict[str, list[Found]]) -> dict[str, Cell]:
    """AvgPool of the best epoch, where it was measured."""
    cell = _cell(
        (item, item.record.heads["avgpool"].best_top1)
        for found in parts.values()
        for item in found
        if isinstance(item.record, ProbeRecord) and "avgpool" in item.record.heads
    )
    return {} if cell is None else {BEST: cell}


def _best_layer_cells(parts: dict[str, list[Found]]) -> dict[str, Cell]:
    svm, low_shot = (of_type(parts, kind) for kind in (VocSvmRecord, LowShotRecord))
    layer = best_layer(svm) or _low_shot_layer(low_shot)
    if layer is None:
        return {}
    cells = {"Best Layer": Cell(text=layer, protocol=svm[0].record.protocol if svm else None)}
    cell = _cell(
        (item, item.record.layers[layer].map)
        for item in originals(svm)
        if isinstance(item.record, VocSvmRecord) and layer in item.record.layers
    )
    if cell is not None:
        cells["SVM"] = cell
    for k in sorted({k for item in low_shot for k in shots_of(item.record)}):
        cell = _cell(
            (item, item.record.layers[layer].shots[str(k)].mean)
            for item in originals(low_shot)
            if isinstance(item.record, LowShotRecord)
            and layer in item.record.layers
            and str(k) in item.record.layers[layer].shots
        )
        if cell is not None:
            cells[f"k={k}"] = cell
    return cells


def _low_shot_layer(found: Sequence[Found]) -> str | None:
    """Without an SVM record: the layer with the best mAP at the highest k."""
    records = [item.record for item in found if isinstance(item.record, LowShotRecord)]
    scores: dict[str, tuple[int, float]] = {}
    for name in FEATURES:
        layers = [record.layers[name].shots for record in records if name in record.layers]
        if layers and len(layers) == len(records):
            top = min(max(int(k) for k in shots) for shots in layers if shots)
            means = [shots[str(top)].mean for shots in layers if str(top) in shots]
            scores[name] = (top, sum(means) / max(len(means), 1))
    return max(scores, key=lambda name: scores[name]) if scores else None


def _cell(figures: Iterable[tuple[Found, float]]) -> Cell | None:
    by_seed: dict[int, tuple[Found, float]] = {}
    for item, value in figures:  # of several that were joined the first
        by_seed.setdefault(item.record.seed, (item, value))
    pairs = list(by_seed.values())
    if not pairs:
        return None
    values = [value for _, value in pairs]
    spread = statistics.stdev(values) if len(values) > 1 else None
    if spread is not None and spread < _NO_SPREAD:
        spread = spread if any(seed_matters(item.record) for item, _ in pairs) else None
    return Cell(
        value=values[0] if len(values) == 1 else statistics.fmean(values),
        spread=spread,
        seeds=tuple(item.record.seed for item, _ in pairs),
        records=tuple(str(item.path) for item, _ in pairs),
        protocol=pairs[0][0].record.protocol,
    )

"""Metadata of the model zoos: OpenMMLab's `metafile.yml` and Hugging Face's `model-index`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.catalog.listed import BENCHMARKS
from benchmarks.catalog.records import changes_of
from benchmarks.checkpoints.cards import Card
from benchmarks.datasets.catalog import DATASETS
from benchmarks.overrides import CUSTOM
from benchmarks.results import Checkpoint
from reports.differing import own_values
from reports.formats.alone import (
    changes_by_part,
    conditions_by_part,
    row_conditions,
    values_by_part,
)
from reports.measured import Measured
from reports.tables import PART_NAMES, Cell, Row

_METRICS = {"best layer": "mean_average_precision", "columns": "accuracy"}


def to_metafile(measured: Sequence[Measured], cards: Mapping[str, Card]) -> str:
    """OpenMMLab's `metafile.yml`: collections of methods, and models with their results."""
    models = _models(measured)
    checkpoints = {name: _checkpoint(rows) for name, rows in models.items()}
    methods = {name: _method(cards.get(name), checkpoints[name]) for name in models}
    document = {
        "Collections": [{"Name": method} for method in dict.fromkeys(methods.values())],
        "Models": [
            {
                "Name": name,
                "In Collection": methods[name],
                "Metadata": _metadata(cards.get(name), checkpoints[name]),
                "Results": [
                    {
                        "Task": "Self-Supervised Image Classification",
                        "Dataset": f"{_dataset(item)} ({_table_measured_by(item, row)})",
                        "Metrics": _metrics(row),
                    }
                    for item, row in rows
                    if _metrics(row)
                ],
                "Config": rows[0][1].link,
            }
            for name, rows in models.items()
        ],
    }
    return to_yaml(document)


def to_model_index(measured: Sequence[Measured]) -> str:
    """The `model-index` metadata of Hugging Face model cards: a YAML document a checkpoint.

    A card describes one model. huggingface_hub reads an index of several models as one, which
    has the last one's name and all figures; hence documents, for a card each.
    """
    models = _models(measured)
    if not models:
        return "# No results yet.\n"
    return "---\n".join(_model_index(name, rows) for name, rows in models.items())


def _model_index(name: str, rows: Sequence[tuple[Measured, Row]]) -> str:
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"name": _dataset(item), "type": item.kind.key},
            "metrics": [
                {
                    "type": _METRICS[item.kind.layout],
                    "name": f"{metric} ({_measured_by(item, row, metric)})",
                    "value": value,
                    **_interval(row.cells[metric]),
                }
                for metric, value in _metrics(row).items()
            ],
        }
        for item, row in rows
        if _metrics(row)
    ]
    return to_yaml({"model-index": [{"name": name, "results": results}]})


def _interval(cell: Cell) -> dict[str, Any]:
    """The ends of its 95 % interval, percent, as what huggingface_hub reads as metric_args."""
    if cell.low is None or cell.high is None:
        return {}
    return {"args": {"interval_95": [round(cell.low, 2), round(cell.high, 2)]}}


def _dataset(item: Measured) -> str:
    title = item.kind.own or DATASETS[BENCHMARKS[item.kind.parts[0]].dataset].title
    return f"{title}, {item.table.partial}" if item.table.partial else title


def _models(measured: Sequence[Measured]) -> dict[str, list[tuple[Measured, Row]]]:
    models: dict[str, list[tuple[Measured, Row]]] = {}
    for item in measured:
        for row in item.table.rows:
            models.setdefault(row.name, []).append((item, row))
    return models


def _checkpoint(rows: Sequence[tuple[Measured, Row]]) -> Checkpoint:
    measured, row = rows[0]
    return next(
        found.record.checkpoint
        for items in measured.found.values()
        for found in items
        if found.record.checkpoint.name == row.name
    )


def _method(card: Card | None, checkpoint: Checkpoint) -> str:
    if card and card.method:
        return card.method
    return "Random" if checkpoint.weights.startswith("random:") else "Unknown"


def _metadata(card: Card | None, checkpoint: Checkpoint) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "Architecture": [checkpoint.arch or "unknown", *(["Sobel"] if checkpoint.sobel else [])],
        "Fingerprint": checkpoint.weights,
    }
    epochs = card.pretraining.get("epochs") if card else None
    return metadata | ({"Epochs": epochs} if isinstance(epochs, int) else {})


def _metrics(row: Row) -> dict[str, float]:
    return {
        column: round(cell.value, 2) for column, cell in row.cells.items() if cell.value is not None
    }


def _measured_by(item: Measured, row: Row, column: str) -> str:
    """All that tells a figure from others of its column's name, as it may stand by itself."""
    part, cell = item.kind.part(column), row.cells[column]
    changes = changes_of(item.found[part][0].record)
    facts = [cell.protocol or "", *_custom(item), *changes, *row_conditions(item, part, row.name)]
    return ", ".join(filter(None, (*facts, *_number(item, own_values(item, part)), _mean(cell))))


def _table_measured_by(item: Measured, row: Row) -> str:
    """The same of all figures of a row, each part that it has one of by its name."""
    groups = row.by_seeds(item.table.columns)
    having = {item.kind.part(column) for columns in groups.values() for column in columns}
    parts = {part: PART_NAMES[part] for part in item.found if part in having}
    names = [item.found[part][0].record.protocol for part in parts]
    changes = changes_by_part(item, parts)
    means = [
        mean if len(groups) == 1 else f"{mean} ({', '.join(columns)})"
        for columns in groups.values()
        if (mean := _mean(row.cells[columns[0]]))
    ]
    number = _number(item, values_by_part(item, parts))
    conditions = conditions_by_part(item, parts, row.name)
    return ", ".join((*names, *_custom(item), *changes, *conditions, *number, *means))


def _custom(item: Measured) -> list[str]:
    """The word for figures that bear a protocol's name with other numbers than it has."""
    return [CUSTOM] if item.variant == CUSTOM else []


def _number(item: Measured, values: Sequence[str]) -> list[str]:
    """Which of several tables of one kind and variant a figure is of, and by what.

    Nothing where its tables differ in no figure of its own part.
    """
    if not values:
        return []
    return [f"{item.table.number}, measured otherwise: {', '.join(values)}"]


def _mean(cell: Cell) -> str:
    """Of how many seeds a figure is the mean; empty for one."""
    return f"mean over seeds {', '.join(map(str, cell.seeds))}" if len(cell.seeds) > 1 else ""


def to_yaml(document: object) -> str:
    """Block YAML that PyYAML itself wrote, in the order given: no line folded, ASCII alone."""
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, width=math.inf)
    return text

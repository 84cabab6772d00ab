"""Metadata of the model zoos: OpenMMLab's `metafile.yml` and Hugging Face's `model-index`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.catalog.listed import BENCHMARKS
from benchmarks.checkpoints.cards import Card
from benchmarks.datasets.catalog import DATASETS
from benchmarks.results import Checkpoint
from reports.document import numbered
from reports.footnotes import changes_of
from reports.formats.exports import plain
from reports.measured import Measured
from reports.tables import Cell, Row

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
                        "Dataset": f"{_dataset(item)} ({_protocol_names(item)})",
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
                    "name": f"{metric} ({_measured_by(item, row.cells[metric])})",
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


def _measured_by(item: Measured, cell: Cell) -> str:
    return ", ".join(filter(None, (cell.protocol, *_custom(item), numbered(item))))


def _protocol_names(item: Measured) -> str:
    names = [found[0].record.protocol for found in item.found.values()]
    return ", ".join(filter(None, (*names, *_custom(item), numbered(item))))


def _custom(item: Measured) -> list[str]:
    """What was changed in protocols whose names the figures of a custom run bear."""
    changes = (plain(text) for one in item.found.values() for text in changes_of(one[0].record))
    return [f"custom, {text}" for text in dict.fromkeys(changes)]


def to_yaml(document: object) -> str:
    """Block YAML that PyYAML itself wrote, in the order given: no line folded, ASCII alone."""
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, width=math.inf)
    return text

"""Metadata of the model zoos: OpenMMLab's `metafile.yml` and Hugging Face's `model-index`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from benchmarks.cards import Card
from benchmarks.results import Checkpoint
from reports.measured import Measured
from reports.tables import Row

_DATASETS = {
    "voc-svm": "VOC2007",
    "imagenet-linear": "ImageNet-1k",
    "places205-linear": "Places205",
    "inaturalist18-linear": "iNaturalist2018",
}


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
                        "Dataset": f"{_DATASETS[item.kind.key]} ({_protocol_names(item)})",
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
    """The `model-index` metadata of a Hugging Face model card."""
    document = {
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": _DATASETS[item.kind.key], "type": item.kind.key},
                        "metrics": [
                            {
                                "type": "mean_average_precision"
                                if item.kind.key == "voc-svm"
                                else "accuracy",
                                "name": f"{metric} ({_protocol_names(item)})",
                                "value": value,
                            }
                            for metric, value in _metrics(row).items()
                        ],
                    }
                    for item, row in rows
                    if _metrics(row)
                ],
            }
            for name, rows in _models(measured).items()
        ]
    }
    return to_yaml(document)


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


def _protocol_names(item: Measured) -> str:
    return ", ".join(found[0].record.protocol for found in item.found.values())


def to_yaml(value: Any, indent: int = 0) -> str:
    """Block YAML of dicts, lists and scalars; scalars are JSON, which YAML contains."""
    pad = " " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            nested = isinstance(item, dict | list) and item
            text = f"\n{to_yaml(item, indent + 2)}" if nested else f" {_scalar(item)}\n"
            lines.append(f"{pad}{_key(key)}:{text}")
        return "".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            block = to_yaml(item, indent + 2) if isinstance(item, dict | list) and item else ""
            lines.append(f"{pad}- {block[indent + 2 :]}" if block else f"{pad}- {_scalar(item)}\n")
        return "".join(lines)
    return f"{pad}{_scalar(value)}\n"


_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]*( [A-Za-z0-9-]+)*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # not text in YAML


def _key(key: str) -> str:
    plain = _PLAIN_KEY.fullmatch(key) and key.casefold() not in _WORDS
    return key if plain else _scalar(key)


# Characters that YAML, unlike JSON, does not take inside quotes, or takes as line breaks.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def _scalar(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match.group()):04x}", text)

"""The tables in other forms: CSV, LaTeX (booktabs), model-zoo metadata and JSON."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.cards import Card
from reports.collect import Collection, Found
from reports.footnotes import footnotes
from reports.measured import Measured
from reports.tables import FIRST_COLUMN, MISSING, Cell, Row, Table, best_values, is_best

SCHEMA = 1
VOLATILE = "run"  # the key in results.json whose content differs between equal results
_CSV_HEADER = (
    *("table", "variant", "name", "config", "column", "value"),
    *("spread", "seeds", "text", "sources"),
)
_DATASETS = {
    "voc-svm": "VOC2007",
    "imagenet-linear": "ImageNet-1k",
    "places205-linear": "Places205",
    "inaturalist18-linear": "iNaturalist2018",
}


def to_csv(tables: Sequence[Table]) -> str:
    """One line for each cell, at full precision, so that tables of all kinds share one header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_HEADER)
    for table in tables:
        for row in table.rows:
            for column in table.columns:
                cell = row.cells.get(column, Cell())
                writer.writerow(
                    [
                        table.kind.key,
                        table.variant,
                        f"{row.prefix} {row.name}".strip(),
                        row.link or "",
                        column,
                        "" if cell.value is None else repr(cell.value),
                        "" if cell.spread is None else repr(cell.spread),
                        " ".join(map(str, cell.seeds)),
                        cell.text or "",
                        " ".join(cell.records),
                    ]
                )
    return text.getvalue()


def to_latex(tables: Sequence[Table], bold: bool = False) -> str:
    """A booktabs `tabular` for each table, for papers."""
    return "\n".join(_latex_table(table, bold) for table in tables)


def _latex_table(table: Table, bold: bool) -> str:
    best = best_values(table) if bold else {}
    numbers = [column for column in table.columns if column != "Best Layer"]
    columns = "l" + "".join("r" if column in numbers else "l" for column in table.columns)
    lines = [
        f"% {table.kind.title}, variant {table.variant}".replace("\n", " "),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_line([FIRST_COLUMN, *table.columns]),
        r"\midrule",
    ]
    for row in table.rows:
        cells = [latex_escape(f"{row.prefix} {row.name}".strip())]
        for column in table.columns:
            shown = str(row.cells.get(column, Cell()))
            text = "--" if shown == MISSING else latex_escape(shown).replace("±", r"$\pm$")
            cells.append(rf"\textbf{{{text}}}" if is_best(row, column, best) else text)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(latex_escape(cell) for cell in cells) + r" \\"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # a row that starts with [ would be read as the length after a line break
    "]": "{]}",
    **{mark: "\\" + mark for mark in "&%$#_{}"},
}


def latex_escape(text: str) -> str:
    """Text that LaTeX prints literally."""
    return re.sub(
        r"[\\~^<>|\[\]&%$#_{}]", lambda match: _LATEX[match.group()], " ".join(text.split())
    )


def to_metafile(measured: Sequence[Measured], cards: Mapping[str, Card]) -> str:
    """OpenMMLab's `metafile.yml`: collections of methods, and models with their results."""
    models = _models(measured)
    methods = dict.fromkeys(_method(cards.get(name)) for name in models)
    document = {
        "Collections": [{"Name": method} for method in methods],
        "Models": [
            {
                "Name": name,
                "In Collection": _method(cards.get(name)),
                "Metadata": _metadata(cards.get(name), rows),
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


def _method(card: Card | None) -> str:
    return card.method if card and card.method else "Unknown"


def _metadata(card: Card | None, rows: Sequence[tuple[Measured, Row]]) -> dict[str, Any]:
    checkpoint = next(
        found.record.checkpoint
        for items in rows[0][0].found.values()
        for found in items
        if found.record.checkpoint.name == rows[0][1].name
    )
    metadata: dict[str, Any] = {
        "Architecture": [checkpoint.arch or "unknown", *(["Sobel"] if checkpoint.sobel else [])],
        "Weights": checkpoint.weights,
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


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z][A-Za-z0-9 -]*", key) else _scalar(key)


def _scalar(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def to_json(collection: Collection, measured: Sequence[Measured], seeds: bool, base: Path) -> bytes:
    """`results.json`: every table, and for every cell the records that prove it.

    Paths are relative to `base` where they lie below it.
    """
    shown = {str(item.path): _relative(item.path, base) for item in collection.found}
    document = {
        "schema": SCHEMA,
        "tables": [
            {
                "table": item.kind.key,
                "title": item.kind.title,
                "variant": item.variant,
                "columns": item.table.columns,
                "rows": [_json_row(row, shown) for row in item.table.rows],
                "notes": footnotes(item, seeds),
            }
            for item in measured
        ],
        "records": {shown[str(item.path)]: _provenance(item) for item in collection.found},
        "left_out": collection.skipped,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def without_volatile(content: bytes) -> Any:
    """A decoded `results.json` without what differs between equal results; None when malformed."""
    try:
        document = msgspec.json.decode(content)
        for record in document["records"].values():
            record.pop(VOLATILE, None)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
        return None
    return document


def _json_row(row: Row, shown: Mapping[str, str]) -> dict[str, Any]:
    cells = {
        column: {
            "value": cell.value,
            "text": str(cell),
            **({"spread": cell.spread} if cell.spread is not None else {}),
            "seeds": cell.seeds,
            "records": [shown[path] for path in cell.records],
        }
        for column, cell in row.cells.items()
    }
    return {"name": row.name, "config": row.link, "cells": cells}


def _provenance(item: Found) -> dict[str, Any]:
    record = item.record
    return {
        "benchmark": record.benchmark,
        "protocol": record.protocol,
        "protocol_version": record.protocol_version,
        "variant": record.variant,
        "settings": record.settings,
        "checkpoint": record.checkpoint,
        "data": record.data,
        "seed": record.seed,
        "versions": record.versions,
        "commit": record.commit,
        "notes": record.notes,
        VOLATILE: {
            "device": record.device,
            "threads": record.threads,
            "host": record.host,
            "started": record.started,
            "seconds": record.seconds,
        },
    }


def _relative(path: Path, base: Path) -> str:
    try:
        return path.resolve().relative_to(base.resolve()).as_posix()
    except ValueError:
        return path.as_posix()

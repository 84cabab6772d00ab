"""python -m reports reproduce RECORD: the command that makes a record again."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.catalog.listed import BENCHMARKS, PROTOCOLS
from benchmarks.catalog.own import own_name
from benchmarks.checkpoints.cards import card_path, read_card
from benchmarks.checkpoints.fit import why_outdated
from benchmarks.checkpoints.zoo import RANDOM
from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.loading import entry_name
from benchmarks.knn.record import KnnRecord
from benchmarks.logreg.record import LogregRecord
from benchmarks.overrides import CUSTOM, IDENTITY
from benchmarks.results import HALF, LowShotRecord, ProbeRecord, Record, VocSvmRecord
from benchmarks.suite import SUITES
from slurm.errors import UserError


def command(path: Path, record: Record, data: str | None, again: Path) -> str:
    """A line for a shell; `UserError` for a record that does not say enough.

    `path` is that of the record, `data` the folder of its dataset where the record's own is not
    taken, `again` the zoo in which it is made.
    """
    folder = data or (record.made.data if record.made else None)
    if folder is None:
        raise UserError(
            f"{path} is of an earlier build, which did not note where its data lay: name the "
            "folder of its dataset with --data"
        )
    place = path.resolve().parents
    if len(place) < 4 or place[2].name != "results":
        raise UserError(f"{path} is not in a record's place, ZOO/results/NAME/BENCHMARK/")
    zoo = place[3]
    words = [*_what(path, record, zoo, folder), "--seed", str(record.seed), *_how(record)]
    words += ["--zoo", str(again)]
    line = shlex.join(words)
    if not (card_path(zoo, record.checkpoint.name)).exists():
        return line
    checkpoints = shlex.quote(str(zoo / "checkpoints"))
    made = shlex.quote(str(again))
    return f"mkdir -p {made} && ln -sfn {checkpoints} {made}/checkpoints && {line}"


def _what(path: Path, record: Record, zoo: Path, folder: str) -> list[str]:
    """The program, the checkpoint, the data and the protocol."""
    own = []
    if BENCHMARKS[record.benchmark].dataset == "own":
        own = ["--own", own_name(record)]
    if _features(record):
        labels = record.made.labels if record.made else None
        if labels is None:
            raise UserError(f"{path} does not say where the labels of its features lay")
        values = record.settings.get("label_values")
        source = ["--features", folder, "--labels", labels, "--name", record.checkpoint.name]
        source += ["--label-values", str(values)] if values else []
    else:
        source = ["--ckpt", _checkpoint(path, record, zoo), "--data", folder]
    if isinstance(record, ProbeRecord):
        processes = record.made.processes if record.made else 1
        program = ["python", "-m"]
        if processes > 1:
            program = ["torchrun", "--nproc-per-node", str(processes), "-m"]
        named = ["--protocol", record.protocol, *_changes(record), *_grid(record)]
        return [*program, "benchmarks.linear_probe", *source, *named, *own]
    if isinstance(record, KnnRecord | LogregRecord):
        module = "benchmarks.knn" if isinstance(record, KnnRecord) else "benchmarks.logreg"
        named = ["--protocol", record.protocol, *_changes(record, IDENTITY)]
        return ["python", "-m", module, *source, *named, *own]
    if not isinstance(record, VocSvmRecord | LowShotRecord):
        raise UserError(f"{path} is of {record.benchmark}, of which no command is known")
    if record.variant == CUSTOM and (changes := _changes(record)):
        return _of_suite(record, source, folder, [*changes, *own])
    words = ["--protocol", record.protocol, "--layers", ",".join(record.layers)]
    words += ["--solver", str(record.settings.get("solver", "gram")), *own]
    if isinstance(record, VocSvmRecord):
        return ["python", "-m", "benchmarks.voc_svm", *source, *words]
    shots = sorted({int(k) for layer in record.layers.values() for k in layer.shots})
    words += ["--shots", ",".join(map(str, shots))]
    words += ["--samples", str(record.settings["samples"])]
    return ["python", "-m", "benchmarks.low_shot_svm", *source, *words]


def _grid(record: ProbeRecord) -> list[str]:
    """The learning rates and weight decays of a grid: every one of its points is among them."""
    words = []
    for flag, name in (("--lr", "learning_rate"), ("--weight-decay", "weight_decay")):
        values = sorted({getattr(point, name) for point in record.grid})
        words += [flag, ",".join(map(repr, values))] if values else []
    return words


def _of_suite(record: Record, source: list[str], folder: str, more: list[str]) -> list[str]:
    """SVMs with other numbers than the protocol's, which `python -m benchmarks` alone can make."""
    suites = [name for name, members in SUITES.items() if PROTOCOLS[record.protocol] in members]
    below = DATASETS[entry_name(str(record.settings.get("dataset")))].folder
    root = Path(folder)
    if below and not root.as_posix().endswith(below):
        raise UserError(
            f"the data of {record.protocol} with other numbers lie in a folder {below}: name that "
            "with --data"
        )
    for _ in Path(below).parts:
        root = root.parent
    words = [*source[:-1], str(root), "--suite", suites[0], "--only", record.protocol, *more]
    if isinstance(record, LowShotRecord):
        shots = sorted({int(k) for layer in record.layers.values() for k in layer.shots})
        words += ["--shots", ",".join(map(str, shots))]
    return ["python", "-m", "benchmarks", *words]


def _how(record: Record) -> list[str]:
    """What else the figures depend on: the device, its threads, precision and decoder."""
    cpu = record.device.startswith("cpu")
    words = ["--device", "cpu" if cpu else "cuda", "--threads", str(record.threads)]
    if record.precision is not None and not _features(record):
        words += ["--precision", record.precision]
    elif HALF in record.notes:
        words += ["--precision", "amp"]
    return [*words, *(["--decode", "fast"] if record.settings.get("decode") == "fast" else [])]


def _features(record: Record) -> bool:
    return record.checkpoint.weights.startswith("features:")


def _checkpoint(path: Path, record: Record, zoo: Path) -> str:
    """What --ckpt names: a registered checkpoint by its name now, anything else as it was named."""
    name, weights = record.checkpoint.name, record.checkpoint.weights
    if card_path(zoo, name).exists():
        if reason := why_outdated(record.checkpoint, read_card(zoo, name)):
            raise UserError(f"{path} {reason}: what it was made from is not there any more")
        return name
    if weights.startswith(RANDOM):
        sobel = "sobel_" if record.checkpoint.sobel else ""
        return f"{RANDOM}{sobel}{record.checkpoint.arch}"
    if record.made is None or record.made.ckpt is None:
        raise UserError(f"{path}: the checkpoint {name!r} is not in {zoo} any more: register it")
    return record.made.ckpt


def _changes(record: Record, fixed: Sequence[str] = (*IDENTITY, "shots")) -> list[str]:
    """--set for each number that is not the protocol's, but for those that are `fixed`."""
    if record.variant != CUSTOM:
        return []
    protocol = PROTOCOLS.get(record.protocol)
    if protocol is None:
        raise UserError(f"there is no protocol {record.protocol} any more")
    usual = dict(_numbers(msgspec.to_builtins(protocol)))
    words = []
    for name, value in _numbers(record.settings):
        known = name in usual or name.partition(".")[0] in usual
        if known and name not in fixed and usual.get(name) != value:
            words += ["--set", f"{name}={_text(value)}"]
    return words


def _numbers(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    """As --set reads it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

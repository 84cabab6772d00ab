"""What two records must share to share a column, and in what else two of one cell may differ.

The `measurement` is of numbers that make another figure: protocol, settings and data. Beside it
stand the conditions of a run, such as its precision: rows that differ in them share a table whose
footnotes say so, until two records of one checkpoint differ in nothing else and need two tables.
"""

import dataclasses
from collections.abc import Iterator

import msgspec

from benchmarks.knn.record import KnnRecord
from benchmarks.logreg.record import LogregRecord, percent_name
from benchmarks.protocols import (
    ADDED,
    ADDED_ON_FEATURES,
    KnnProtocol,
    LinearProtocol,
    LogregProtocol,
    LowShotProtocol,
    SvmProtocol,
)
from benchmarks.results import HALF, LowShotRecord, ProbeRecord, Record, VocSvmRecord
from reports.contradictions import figures, same

# Settings that are no field of a protocol are of one run; `shots` only says which cells there are.
SETTINGS = {
    setting.name
    for protocol in (LinearProtocol, SvmProtocol, LowShotProtocol, KnnProtocol, LogregProtocol)
    for setting in dataclasses.fields(protocol)
} - {"shots"} | {"decode"}
PRECISIONS = ("fp32", "tf32", "amp")  # the order of tables
_SHOWN = 3  # differences in a line


def measurement(record: Record) -> bytes:
    """What two records must share so that their figures may share a column."""
    settings = {key: value for key, value in record.settings.items() if key in SETTINGS}
    settings = settings_before(record) | settings
    alike = (record.variant, record.protocol, record.protocol_version, settings, record.data)
    return msgspec.json.encode(alike, order="deterministic")


def settings_before(record: Record) -> dict[str, object]:
    """What stands for settings that came after older records had been written."""
    if isinstance(record, ProbeRecord):  # as JSON has them, which has no tuples
        return {name: list(one) if isinstance(one, tuple) else one for name, one in ADDED.items()}
    return dict(ADDED_ON_FEATURES) if isinstance(record, KnnRecord | LogregRecord) else {}


def conditions(record: Record) -> dict[str, str]:
    """How a record was measured beyond its `measurement`, in words; empty where it does not say."""
    return {
        "precision": record.precision or ("amp" if HALF in record.notes else ""),
        "solver": str(record.settings.get("solver", "")),
        "draws": source_of_draws(record),
        "labels": _listed_labels(record),
        "layers": ", ".join(layers_of(record)),
        "shots": ", ".join(map(str, sorted(shots_of(record)))),
        "device": record.device.partition(":")[0],
    }


def layers_of(record: Record) -> tuple[str, ...]:
    """The layers of an SVM's record, of which the best is shown."""
    return tuple(record.layers) if isinstance(record, VocSvmRecord | LowShotRecord) else ()


def shots_of(record: Record) -> set[int]:
    """Every k of a low-shot record."""
    if not isinstance(record, LowShotRecord):
        return set()
    return {int(k) for layer in record.layers.values() for k in layer.shots}


def draws_of(record: Record, k: str) -> str:
    """Whence the draws of one k came: `seed 0`, or `official:` and a fingerprint."""
    draws = record.settings.get("draws")
    known = draws.get(k) if isinstance(draws, dict) else None
    return str(known or f"seed {record.seed}")


def source_of_draws(record: Record) -> str:
    """`by the seed`, or `official` with the beginning of a fingerprint; of low-shot records."""
    if not isinstance(record, LowShotRecord):
        return ""
    first = draws_of(record, str(min(shots_of(record), default=1)))
    return f"official {first[9:17]}" if first.startswith("official:") else "by the seed"


def _listed_labels(record: Record) -> str:
    """Of logistic regression: the public lists of few labels, where it used any."""
    if not isinstance(record, LogregRecord):
        return ""
    lists = [
        f"{percent_name(float(part))} of {few.source}, {few.labels:,} labels"
        for part, few in record.fractions.items()
        if few.source != "drawn"
    ]
    return "; ".join(lists) or "drawn by the seed"


def differing(one: Record, other: Record) -> list[str]:
    """The names of the conditions in which two records of one cell differ."""
    here, there = conditions(one), conditions(other)
    return [name for name in here if here[name] != there[name]]


def order(record: Record) -> tuple[int, int]:
    """The order of tables that conditions tell apart: the most figures first, then by precision."""
    precision = conditions(record)["precision"]
    place = PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
    return -sum(map(len, figures_by_name(record).values())), place


def agree(one: Record, other: Record) -> bool:
    """Whether two records were measured alike, and all figures that both have are the same."""
    here, there = conditions(one), conditions(other)
    known = ("precision", "solver", "labels", "device")
    if any(here[name] != there[name] and here[name] and there[name] for name in known):
        return False
    shared = shots_of(one) & shots_of(other)
    if any(draws_of(one, str(k)) != draws_of(other, str(k)) for k in shared):
        return False
    if source_of_draws(one).partition(" ")[0] != source_of_draws(other).partition(" ")[0]:
        return False
    mine, theirs = figures_by_name(one), figures_by_name(other)
    return all(all(map(same, mine[name], theirs[name])) for name in mine.keys() & theirs.keys())


def holds(one: Record, other: Record) -> bool:
    """Whether `one`, which agrees with `other`, has all that `other` has."""
    mine, theirs = figures_by_name(one), figures_by_name(other)
    return all(len(values) <= len(mine.get(name, ())) for name, values in theirs.items())


def figures_by_name(record: Record) -> dict[str, list[float]]:
    """All percent values of a record; those of a grid stand behind those of the protocol."""
    found: dict[str, list[float]] = {}
    for name, value in figures(record):
        found.setdefault(name, []).append(value)
    return found


def contradiction(one: Record, other: Record) -> str:
    """In what two records differ that claim to be measured alike."""
    mine, theirs = figures_by_name(one), figures_by_name(other)
    pairs = (
        (name, a, b) for name in mine if name in theirs for a, b in zip(mine[name], theirs[name])
    )
    unlike = [f"{name} is {a:.6g} and {b:.6g}" for name, a, b in pairs if not same(a, b)]
    more = [f"and {len(unlike) - _SHOWN} more figures"] * (len(unlike) > _SHOWN)
    facts = [*unlike[:_SHOWN], *more, *_facts(one, other)]
    return (
        ", ".join(facts) if unlike else ", ".join(["one has figures that the other lacks", *facts])
    )


def _facts(one: Record, other: Record) -> Iterator[str]:
    for name in ("device", "threads", "commit", "host", "started"):
        here, there = getattr(one, name), getattr(other, name)
        if here != there:
            yield f"{name} {here} and {there}"
    for package in sorted(one.versions.keys() & other.versions.keys()):
        if one.versions[package] != other.versions[package]:
            yield f"{package} {one.versions[package]} and {other.versions[package]}"

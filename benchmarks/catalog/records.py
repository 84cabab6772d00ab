"""Records of whichever benchmark: reading one, and what a user changed in its protocol."""

from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.catalog.listed import BENCHMARKS, PROTOCOLS
from benchmarks.catalog.own import own_name
from benchmarks.overrides import CUSTOM, differences
from benchmarks.results import SCHEMA, Record, RecordKind, read
from slurm.errors import UserError


def read_record(path: Path) -> Record:
    """Read a result record of whichever benchmark wrote it; `UserError` names what is wrong."""
    kind = read(path, RecordKind)
    if kind.schema != SCHEMA:
        raise UserError(
            f"{path} has schema {kind.schema}, this version reads {SCHEMA}: run the benchmark again"
        )
    if kind.benchmark not in BENCHMARKS:
        raise UserError(f"{path} is of an unknown benchmark {kind.benchmark!r}")
    record = read(path, BENCHMARKS[kind.benchmark].record)
    if BENCHMARKS[kind.benchmark].dataset == "own":
        try:
            own_name(record)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    return record


def changes_of(record: Record) -> list[str]:
    """What was changed in the protocol of a custom run, as `epochs 1 instead of 90`; plain text."""
    changed = changed_numbers(record)
    return [", ".join(changed)] if changed else []


def changed_numbers(record: Record) -> list[str]:
    """Each number that was changed in the protocol of a custom run, likewise."""
    if record.variant != CUSTOM or record.protocol not in PROTOCOLS:
        return []
    own = {"benchmark": record.benchmark, "dataset": record.settings.get("dataset")}
    plain = asdict(replace(PROTOCOLS[record.protocol], variant=CUSTOM)) | own
    used = {name: record.settings.get(name, value) for name, value in plain.items()}
    return differences(plain, used)

"""Reading a record of whichever benchmark wrote it."""

from pathlib import Path

from benchmarks.catalog.listed import BENCHMARKS
from benchmarks.catalog.own import own_name
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

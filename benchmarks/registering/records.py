"""The records that lie under a checkpoint's name."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.checkpoints.fit import record_paths
from benchmarks.results import Record
from slurm.errors import UserError


@dataclass(frozen=True)
class Result:
    """A record of a name and the file that it lies in."""

    path: Path
    record: Record


def records_of(zoo: Path, name: str) -> tuple[list[Result], list[str]]:
    """The records of a name that can be read, by path, and what is wrong with each other one."""
    from benchmarks.catalog.records import read_record  # knows every benchmark

    found, unreadable = [], []
    for path in record_paths(zoo, name):
        try:
            found.append(Result(path, read_record(path)))
        except UserError as error:
            unreadable.append(str(error))
    return found, unreadable

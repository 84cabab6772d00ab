"""A rehearsal as one item, so that it can run where the real items will."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import msgspec

from benchmarks.rehearsal.report import Report
from benchmarks.results import key_of
from slurm.files import write_bytes
from slurm.sweep import Item, Resources


@dataclass(frozen=True)
class Rehearsal:
    """Measure what `work` still needs, an item for `seconds`, and leave the report."""

    work: tuple[Item, ...]
    seconds: int
    zoo: Path
    device: str

    stage: ClassVar[str] = "rehearse"
    needs: ClassVar[tuple[Item, ...]] = ()

    @cached_property
    def _name(self) -> str:
        return key_of([item.key for item in self.work], self.seconds)

    @property
    def key(self) -> str:
        """Name of the item."""
        return f"rehearsal/{self._name}"

    @property
    def result(self) -> Path:
        """The report, which the command reads and removes."""
        return self.zoo / "logs" / f"rehearsal-{self._name}.json"

    @property
    def resources(self) -> Resources:
        """One GPU where there is one; minutes are measured, the rest is a busy disk."""
        return Resources(gpus=int(self.device != "cpu"), minutes=60)

    def done(self) -> bool:
        """Whether the report is there."""
        return self.result.is_file()

    def run(self) -> None:
        """Measure, and write the report."""
        from benchmarks.rehearsal.rehearse import rehearse

        report = rehearse(self.work, self.seconds)
        write_bytes(self.result, msgspec.json.encode(report))

    def taken(self) -> Report:
        """The report, which is removed: another rehearsal measures anew."""
        report = msgspec.json.decode(self.result.read_bytes(), type=Report)
        self.result.unlink()
        return report

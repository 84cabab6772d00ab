"""The folder of one sweep on SLURM, `zoo/runs/RUN`: all that another login node needs of it.

    manifest.json         what was asked for; the settings are those of the latest command
    items/STAGE.bin       the items, pickled and sealed by us for our own workers
    items/STAGE.json      the files that they leave, for whoever only looks
    arrays/LABEL.json     one array: which items its tasks run, and its job once SLURM took it
    arrays/LABEL/         submitit's folder of it, with a log per task
    failures/             why tasks failed, written by the tasks
    launcher.json         who looks after the run, renewed now and then
    cancelled             there once the run was cancelled

Whether an item is done is not noted here: its result says so.
"""

import secrets
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from slurm.errors import UserError
from slurm.failures import UNREADABLE, Failure, read_failure
from slurm.files import check_writable, read_regular, write_bytes
from slurm.scheduler.commands import TaskId
from slurm.scheduler.settings import Request
from slurm.stored import launchers
from slurm.stored.items import ListedItem, list_records, load_all, load_one, write_items
from slurm.stored.launchers import Launcher, is_alive
from slurm.sweep import Item, Resources, Stage


class StageRecord(msgspec.Struct, frozen=True):
    """One stage of a run."""

    name: str
    resources: Resources
    keys: list[str]  # of its items, in the order of items/STAGE.bin


class Manifest(msgspec.Struct, frozen=True):
    """What was asked for."""

    run: str
    created: str  # local time, ISO 8601
    host: str
    command: str
    folder: str  # the working directory, to which relative paths refer
    goals: str  # a fingerprint of what the sweep was started for
    threads: int | None
    stages: list[StageRecord]
    requests: list[Request]  # of the stages


class Place(msgspec.Struct, frozen=True):
    """Where an item stands: the number of its stage and its own number within."""

    stage: int
    number: int


class ArrayRecord(msgspec.Struct, frozen=True):
    """One array: written before it is submitted, and again when SLURM took it."""

    label: str
    job_name: str
    stage: int
    numbers: list[int]  # task t runs item numbers[t] of the stage
    submitted: float  # seconds since 1970
    job: str = ""  # SLURM's number of it; empty while it is being submitted
    host: str = ""  # where it is submitted,
    pid: int = 0  # and by which process
    request: Request | None = None  # what each task asks for; earlier versions did not note it

    def task(self, index: int) -> TaskId:
        """The name under which SLURM knows task `index`."""
        return TaskId(self.job_name, index)

    def submitter_is_dead(self) -> bool:
        """Whether the process that submits it is known to be gone; False on other machines."""
        return self.host == socket.gethostname() and not is_alive(self.pid)


@dataclass(frozen=True)
class Run:
    """The folder of a run."""

    folder: Path

    @property
    def name(self) -> str:
        """Its name, with which the names of its jobs begin."""
        return self.folder.name

    @cached_property
    def manifest(self) -> Manifest:
        """What was asked for; `UserError` when this is not a run's folder."""
        try:
            content = read_regular(self.folder / "manifest.json")
            found = msgspec.json.decode(content, type=Manifest)
        except FileNotFoundError:
            raise UserError(
                f"no run {self.folder}; python -m slurm list names those of a zoo"
            ) from None
        except UNREADABLE as error:
            raise UserError(f"{self.folder}/manifest.json is damaged: {error}") from None
        fault = _fault(found)
        if fault:
            raise UserError(f"{self.folder}/manifest.json is damaged: {fault}")
        return found

    def asking_for(self, requests: Sequence[Request], threads: int | None) -> "Run":
        """The same run with other settings, which its manifest has from now on."""
        if (list(requests), threads) == (self.manifest.requests, self.manifest.threads):
            return self
        found = msgspec.structs.replace(self.manifest, requests=list(requests), threads=threads)
        _write_manifest(self.folder, found)
        return Run(self.folder)

    def write_items(self, stage: int, items: Sequence[Item]) -> None:
        """Store the items of a stage, sealed."""
        write_items(self._items, self.name, stage, items)

    def load_item(self, place: Place) -> Item:
        """One item; `UserError` unless this user stored it, since a pickle is a program."""
        return load_one(self._items, self.name, place.stage, place.number)

    def load_items(self) -> dict[Place, Item]:
        """All items, stage by stage; the working directory must be the manifest's."""
        return {
            Place(stage, number): item
            for stage, record in enumerate(self.manifest.stages)
            for number, item in enumerate(load_all(self._items, self.name, stage, len(record.keys)))
        }

    def list_items(self) -> dict[Place, Item]:
        """The same to look at, from data alone; the working directory must be the manifest's."""
        return {
            Place(stage, number): ListedItem(record.name, key, record.resources, found)
            for stage, record in enumerate(self.manifest.stages)
            for number, (key, found) in enumerate(
                zip(
                    record.keys,
                    list_records(self._items, stage, len(record.keys)),
                    strict=True,
                )
            )
        }

    def write_array(self, array: ArrayRecord) -> None:
        """Note an array."""
        path = self.folder / "arrays" / f"{array.label}.json"
        write_bytes(path, msgspec.json.encode(array) + b"\n")

    def arrays(self, known: Container[str] = ()) -> list[ArrayRecord]:
        """The arrays, but for those whose labels are `known`, in the order of submission."""
        found = []
        for path in (self.folder / "arrays").glob("*.json"):
            if path.stem not in known:
                with suppress(*UNREADABLE):
                    array = msgspec.json.decode(read_regular(path), type=ArrayRecord)
                    if array.label == path.stem and self._has(array):
                        found.append(array)
        return sorted(found, key=lambda array: (array.submitted, array.label))

    def _has(self, array: ArrayRecord) -> bool:
        """Whether the items of an array are items of this run."""
        if not (self.folder / "manifest.json").exists():  # which is written last
            return True
        stages = self.manifest.stages
        return 0 <= array.stage < len(stages) and all(
            0 <= number < len(stages[array.stage].keys) for number in array.numbers
        )

    def drop_array(self, label: str) -> None:
        """Forget an array that SLURM did not take."""
        (self.folder / "arrays" / f"{label}.json").unlink(missing_ok=True)
        shutil.rmtree(self.array_folder(label), ignore_errors=True)

    def forget_arrays(self) -> None:
        """Take no array for one of the run's any more."""
        for path in (self.folder / "arrays").glob("*.json"):
            path.unlink(missing_ok=True)

    def array_folder(self, label: str) -> Path:
        """submitit's folder of an array: fresh, since it trusts what it finds there."""
        return self.folder / "arrays" / label

    def log(self, array: ArrayRecord, index: int) -> Path:
        """What task `index` of an array said."""
        job = f"{array.job}_{index}" if len(array.numbers) > 1 else array.job
        return self.array_folder(array.label) / f"{job}_0_log.out"

    def failure_file(self, label: str, index: int) -> Path:
        """Where task `index` of an array says why it failed."""
        return self.folder / "failures" / f"{label}-{index}.json"

    def failure(self, array: ArrayRecord, index: int) -> Failure | None:
        """Why task `index` of an array failed, if it said so."""
        failure = read_failure(self.failure_file(array.label, index))
        if failure is None:
            return None
        return msgspec.structs.replace(failure, log=str(self.log(array, index)))

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return (self.folder / "cancelled").exists()

    def set_cancelled(self, cancelled: bool) -> None:
        """Mark the run as cancelled, or take the mark away."""
        if cancelled:
            write_bytes(self.folder / "cancelled", b"")
        else:
            (self.folder / "cancelled").unlink(missing_ok=True)

    def other_launcher(self, token: str) -> Launcher | None:
        """The living process, other than the one of `token`, that looks after the run."""
        return launchers.other_launcher(self._launcher, token)

    def claim(self, token: str) -> Launcher | None:
        """Let this process look after the run, unless another one does: that one."""
        return launchers.claim(self._launcher, token)

    def renew_launcher(self, token: str) -> None:
        """Say that this process looks after the run."""
        launchers.renew(self._launcher, token)

    def release_launcher(self, token: str) -> None:
        """Say that nobody looks after the run, if this process did."""
        launchers.release(self._launcher, token)

    @property
    def _launcher(self) -> Path:
        return self.folder / launchers.NAME

    @property
    def _items(self) -> Path:
        return self.folder / "items"


def create_run(
    runs: Path,
    stages: Sequence[Stage],
    requests: Sequence[Request],
    *,
    goals: str,
    threads: int | None,
) -> Run:
    """A new run below `runs` with a name that never was there; the manifest is written last."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{stages[-1].name}-{secrets.token_hex(3)}"
    run = Run(runs / name)
    check_writable(run.folder)
    for number, stage in enumerate(stages):
        run.write_items(number, stage.items)
    manifest = Manifest(
        run=name,
        created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        host=socket.gethostname(),
        command=shlex.join(sys.orig_argv),
        folder=str(Path.cwd()),
        goals=goals,
        threads=threads,
        stages=[
            StageRecord(stage.name, stage.resources, [item.key for item in stage.items])
            for stage in stages
        ],
        requests=list(requests),
    )
    _write_manifest(run.folder, manifest)
    return run


def find_runs(runs: Path) -> list[Run]:
    """The runs below `runs`, oldest first."""
    return [Run(path.parent) for path in sorted(runs.glob("*/manifest.json"))]


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    write_bytes(folder / "manifest.json", content + b"\n")


def _fault(manifest: Manifest) -> str | None:
    """What cannot be in a manifest of ours; None if nothing is."""
    if not manifest.stages or len(manifest.stages) != len(manifest.requests):
        return f"{len(manifest.stages)} stages with {len(manifest.requests)} requests"
    if "\0" in manifest.folder or not Path(manifest.folder).is_absolute():
        return f"its folder {manifest.folder[:200]!r} is no absolute path"
    keys = [key for stage in manifest.stages for key in stage.keys]
    return "two items have one name" if len(set(keys)) != len(keys) else None

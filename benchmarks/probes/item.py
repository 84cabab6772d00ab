"""The item of a linear probe: what it depends on, where its record lies, how it is trained.

Heads on feature1..feature5, or one on the pooled last stage, of a frozen trunk; beside them, where
a grid is asked for, heads at other learning rates and weight decays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import compress
from pathlib import Path
from typing import ClassVar

from benchmarks import results
from benchmarks.datasets.loading import fingerprints, load_dataset, require_classes, require_split
from benchmarks.images.checking import check_items
from benchmarks.protocols import LinearProtocol, Point
from benchmarks.results import Split
from benchmarks.trunks import Trunk
from slurm.distributed import (
    agree_on_device,
    barrier,
    broadcast_object,
    find_world,
    process_group,
)
from slurm.stop import polite_stop
from slurm.sweep import Item, Resources


@dataclass(frozen=True)
class Probe:
    """Train the heads of one protocol on one trunk and write the result record."""

    trunk: Trunk
    data: Path  # the folder of the protocol's dataset
    protocol: LinearProtocol
    splits: tuple[Split, Split]  # fingerprints of train and val
    points: tuple[Point, ...] = ()  # of the grid, without the protocol's own

    stage: ClassVar[str] = "probe"

    @property
    def needs(self) -> tuple[Item, ...]:
        """The check of the images, where it was asked for."""
        if not self.trunk.check_images:
            return ()
        name = self.protocol.dataset
        return check_items(self.trunk.zoo, name, self.data, self.measured_on, self.trunk.workers)

    @property
    def measured_on(self) -> dict[str, Split]:
        """The fingerprints of the data by split."""
        return dict(zip(("train", "val"), self.splits))

    @cached_property
    def _file_stem(self) -> str:
        key = results.key_of(self.trunk.inputs(), self.trunk.seed, self.protocol, self.splits)
        return f"{self.protocol.name}-{key}"

    @cached_property
    def result(self) -> Path:
        """The record."""
        name, file = self.trunk.checkpoint.name, f"{self._file_stem}.json"
        return self.trunk.zoo.joinpath("results", name, self.protocol.benchmark, file)

    @cached_property
    def _stem_with_grid(self) -> str:
        """The record is the same with a grid and without, what is on the way to it is not."""
        return self._file_stem + (f"-grid-{results.key_of(self.points)}" if self.points else "")

    @property
    def state(self) -> Path:
        """What an interrupted run continues from; removed when the record is written."""
        return self.trunk.zoo / "state" / self.trunk.checkpoint.name / f"{self._stem_with_grid}.pt"

    @cached_property
    def key(self) -> str:
        """Name of the item; with its hash, since two checkpoint files can have one name."""
        return f"{self.trunk.checkpoint.name}/{self.protocol.benchmark}/{self._stem_with_grid}"

    @property
    def resources(self) -> Resources:
        """As many GPUs as there are, one process each; a stopped run continues."""
        gpus = int(self.trunk.device != "cpu")
        return Resources(gpus=gpus, minutes=1440, distributed=True, resumable=True)

    @property
    def batch(self) -> int:
        """Images of a step, which the processes share equally."""
        return self.protocol.batch_size

    def done(self) -> bool:
        """Whether the record is there and valid, with every point of the grid."""
        record = results.read_done(self.result, results.ProbeRecord)
        return record is not None and set(self.points) <= points_of(record)

    def run(self) -> None:
        """Train and evaluate, alone or as one of several processes, and write the record."""
        run_probes([self], self.key, limited=False)


def run_probes(probes: Sequence[Probe], name: str, *, limited: bool) -> None:
    """Train and evaluate probes of the same images together, and write each one's record.

    With `limited` no more trunks are taken up at once than fit the device. Raises the `UserError`
    of a probe that diverged when the others are done.
    """
    from benchmarks.devices import begin_peak, resolve_device, took
    from benchmarks.outcomes.files import write_outcomes
    from benchmarks.probes.grades import stored
    from benchmarks.probes.record import probe_record
    from benchmarks.probes.together import run_jobs
    from benchmarks.probes.training import Job, ProbeRun

    first = probes[0]
    world = find_world()
    device = agree_on_device(world, lambda: resolve_device(first.trunk.device, world.local_rank))
    begin_peak(device)
    with polite_stop(), process_group(world, device):
        dataset = load_dataset(first.protocol.dataset, first.data)
        for split, planned in zip(("train", "val"), first.splits):
            dataset.splits[split].require(planned)
        missing = broadcast_object([len(probes) == 1 or not probe.done() for probe in probes])
        assert isinstance(missing, list)
        jobs = {
            Job(probe.trunk, probe.protocol, probe.state, probe.key, probe.points): probe
            for probe in compress(probes, missing)
        }

        def finish(run: ProbeRun) -> None:
            if not world.first:
                return
            probe = jobs[run.job]
            kept = stored(run.outcomes)
            record = probe_record(
                probe.trunk,
                probe.protocol,
                probe.splits,
                run.history,
                processes=world.size,
                device=device,
                started=run.clock.started,
                seconds=run.seconds + run.clock.seconds(),
                notes=dataset.notes,
                outcomes=write_outcomes(probe.result, kept, probe.splits[1]) if kept else None,
                made=results.Made(
                    ckpt=probe.trunk.ckpt,
                    data=str(probe.data),
                    processes=world.size,
                    beside=run.beside,
                    **took(device),
                ),
                grid=run.grid,
            )
            results.write(probe.result, record)
            probe.state.unlink(missing_ok=True)

        run_jobs(list(jobs), dataset, name, world, device, finish, limited=limited)
        barrier()


@lru_cache(maxsize=64)
def note_schedule(protocol: LinearProtocol, images: int) -> None:
    """Say, once, where a protocol's numbers do not fit each other or the `images` of training."""
    from slurm.progress import say

    if images < protocol.batch_size:
        say(
            f"note: {protocol.name} has batches of {protocol.batch_size} images and {images} to "
            "train on: an epoch is one step; --set batch_size=N makes it more"
        )
    length = "1 epoch" if protocol.epochs == 1 else f"{protocol.epochs} epochs"
    if protocol.warmup >= protocol.epochs:
        say(
            f"note: {protocol.name} ends after {length}, within its warm-up: it "
            f"never reaches its learning rate; --set warmup=N makes that shorter"
        )
    late = [epoch for epoch in protocol.milestones if epoch >= protocol.epochs]
    if protocol.schedule == "step" and late:
        say(
            f"note: {protocol.name} ends after {length}: its learning rate does "
            f"not fall at epoch {' and '.join(map(str, late))}; --set milestones=N,N moves that"
        )


def points_of(record: results.ProbeRecord) -> set[Point]:
    """The points of a record's grid."""
    return {Point(one.learning_rate, one.weight_decay) for one in record.grid}


def with_grid(probe: Probe, points: Sequence[Point]) -> Probe:
    """`probe` with heads at `points` too, beside the protocol's own.

    A record that has a grid without some of them is made again with the points of both: heads cost
    little beside the forward pass, and nothing that was measured is lost.
    """
    own = Point(probe.protocol.learning_rate, probe.protocol.weight_decay)
    record = results.read_done(probe.result, results.ProbeRecord)
    known = points_of(record) if record is not None else set()
    wanted = set(points) if set(points) <= known else set(points) | known
    return replace(probe, points=tuple(sorted(wanted - {own})))


def probe_item(trunk: Trunk, data: Path, protocol: LinearProtocol) -> Probe:
    """The probe of `trunk` by `protocol`; `UserError` when the dataset cannot be read."""
    if protocol.taps == "blocks":
        from benchmarks.backbones.blocks import block_names  # which needs torch

        block_names(str(trunk.checkpoint.arch))  # or says that there are none
    require_split(protocol.dataset, data, "train")
    require_classes(protocol.dataset, data)
    splits = fingerprints(protocol.dataset, data)
    note_schedule(protocol, splits["train"].images)
    return Probe(trunk, data, protocol, (splits["train"], splits["val"]))

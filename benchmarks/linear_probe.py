"""Linear probes on a frozen trunk: heads on feature1..feature5, or one on the pooled last stage.

python -m benchmarks.linear_probe --ckpt NAME --protocol NAME --data DIR

The published schedules are 28 to 100 epochs on ImageNet, Places205 and iNaturalist 2018; progress
is saved, so that a killed run continues bit for bit.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import ClassVar

from benchmarks import results
from benchmarks.commands import finish_command
from benchmarks.datasets.loading import fingerprints, load_dataset, require_classes
from benchmarks.images.checking import check_items
from benchmarks.input_files import folder_flag
from benchmarks.overrides import add_set_flags, custom
from benchmarks.protocols import PROTOCOLS, LinearProtocol
from benchmarks.results import Split
from benchmarks.trunks import Trunk, add_trunk_flags, find_trunk
from slurm.cli import Parser, add_common_flags, choose, run_command
from slurm.distributed import (
    agree_on_device,
    barrier,
    broadcast_object,
    find_world,
    process_group,
)
from slurm.stop import polite_stop
from slurm.sweep import Item, Resources

TRUNKS = 8  # that read one stream, unless another number is asked for
LINEAR_PROTOCOLS = {
    name: protocol for name, protocol in PROTOCOLS.items() if isinstance(protocol, LinearProtocol)
}


@dataclass(frozen=True)
class Probe:
    """Train the heads of one protocol on one trunk and write the result record."""

    trunk: Trunk
    data: Path  # the folder of the protocol's dataset
    protocol: LinearProtocol
    splits: tuple[Split, Split]  # fingerprints of train and val

    stage: ClassVar[str] = "probe"

    @property
    def needs(self) -> tuple[Item, ...]:
        """The check of the images, where it was asked for."""
        if not self.trunk.check_images:
            return ()
        splits = dict(zip(("train", "val"), self.splits))
        name = self.protocol.dataset
        return check_items(self.trunk.zoo, name, self.data, splits, self.trunk.workers)

    @cached_property
    def _file_stem(self) -> str:
        key = results.key_of(self.trunk.inputs(), self.trunk.seed, self.protocol, self.splits)
        return f"{self.protocol.name}-{key}"

    @cached_property
    def result(self) -> Path:
        """The record."""
        folder = self.trunk.zoo / "results" / self.trunk.checkpoint.name
        return folder / self.protocol.benchmark / f"{self._file_stem}.json"

    @property
    def state(self) -> Path:
        """What an interrupted run continues from; removed when the record is written."""
        return self.trunk.zoo / "state" / self.trunk.checkpoint.name / f"{self._file_stem}.pt"

    @property
    def key(self) -> str:
        """Name of the item; with its hash, since two checkpoint files can have one name."""
        return f"{self.trunk.checkpoint.name}/{self.protocol.benchmark}/{self._file_stem}"

    @property
    def resources(self) -> Resources:
        """As many GPUs as there are, one process each; a stopped run continues."""
        gpus = int(self.trunk.device != "cpu")
        return Resources(gpus=gpus, minutes=1440, distributed=True, resumable=True)

    def done(self) -> bool:
        """Whether the record is there and valid."""
        return results.is_done(self.result, results.ProbeRecord)

    def run(self) -> None:
        """Train and evaluate, alone or as one of several processes, and write the record."""
        run_probes([self], self.key, limited=False)


@dataclass(frozen=True)
class Together:
    """Probes that read the same images: run as one, each image is decoded once for all of them."""

    parts: tuple[Probe, ...]
    limited: bool = True  # take up no more trunks at once than the device has memory for

    stage: ClassVar[str] = Probe.stage

    @cached_property
    def key(self) -> str:
        """Name of the item."""
        name = results.key_of([part.key for part in self.parts])
        return f"{self.parts[0].protocol.dataset}/together-{name}"

    @property
    def needs(self) -> tuple[Item, ...]:
        """What all of them need, which is the same for each."""
        return self.parts[0].needs

    @property
    def resources(self) -> Resources:
        """Those of one probe."""
        return self.parts[0].resources

    @property
    def state(self) -> Path:
        """The state of a probe that is not done; all are saved at once."""
        return next((part.state for part in self.parts if not part.done()), self.parts[0].state)

    def done(self) -> bool:
        """Whether every record is there and valid."""
        return all(part.done() for part in self.parts)

    def run(self) -> None:
        """Train and evaluate those that are not done, and write their records."""
        run_probes(self.parts, self.key, limited=self.limited)


def run_probes(probes: Sequence[Probe], name: str, *, limited: bool) -> None:
    """Train and evaluate probes of the same images together, and write each one's record.

    With `limited` no more trunks are taken up at once than fit the device. Raises the `UserError`
    of a probe that diverged when the others are done.
    """
    from benchmarks.devices import resolve_device
    from benchmarks.probes.record import probe_record
    from benchmarks.probes.together import run_jobs
    from benchmarks.probes.training import Job, ProbeRun

    first = probes[0]
    world = find_world()
    device = agree_on_device(world, lambda: resolve_device(first.trunk.device, world.local_rank))
    with polite_stop(), process_group(world, device):
        dataset = load_dataset(first.protocol.dataset, first.data)
        for split, planned in zip(("train", "val"), first.splits):
            dataset.splits[split].require(planned)
        missing = broadcast_object([len(probes) == 1 or not probe.done() for probe in probes])
        assert isinstance(missing, list)
        jobs = {
            Job(probe.trunk, probe.protocol, probe.state, probe.key): probe
            for probe in compress(probes, missing)
        }

        def finish(run: ProbeRun) -> None:
            if not world.first:
                return
            probe = jobs[run.job]
            record = probe_record(
                probe.trunk,
                probe.protocol,
                probe.splits,
                run.history,
                processes=world.size,
                device=device,
                started=run.clock.started,
                seconds=run.seconds + run.clock.seconds(),
            )
            results.write(probe.result, record)
            probe.state.unlink(missing_ok=True)

        run_jobs(list(jobs), dataset, name, world, device, finish, limited=limited)
        barrier()


def probe_item(trunk: Trunk, data: Path, protocol: LinearProtocol) -> Probe:
    """The probe of `trunk` by `protocol`; `UserError` when the dataset cannot be read."""
    require_classes(protocol.dataset, data)
    splits = fingerprints(protocol.dataset, data)
    return Probe(trunk, data, protocol, (splits["train"], splits["val"]))


def together(goals: Sequence[Item], most: int | None) -> list[Item]:
    """`goals`, with probes that can read one stream of images in items of `most` trunks each.

    None is a number that leaves a cluster something to do side by side, and fewer where the memory
    of a device is short. Which goals are done changes nothing: a run that is under way is found by
    what it was asked for.
    """
    streams: dict[object, dict[Trunk, list[Probe]]] = {}
    for goal in goals:
        if isinstance(goal, Probe):
            trunks = streams.setdefault(_stream_of(goal), {})
            trunks.setdefault(goal.trunk, []).append(goal)
    groups: dict[str, Item] = {}  # by the key of the first probe
    size = TRUNKS if most is None else most
    for trunks in streams.values():
        members = list(trunks.values())
        for first in range(0, len(members), size):
            parts = tuple(probe for of in members[first : first + size] for probe in of)
            whole = Together(parts, limited=most is None) if len(parts) > 1 else parts[0]
            groups[parts[0].key] = whole
    found = (groups.get(goal.key) if isinstance(goal, Probe) else goal for goal in goals)
    return [item for item in found if item is not None]


def _stream_of(probe: Probe) -> object:
    """What two probes must share to read one stream."""
    trunk, protocol = probe.trunk, probe.protocol
    geometry = (
        replace(spec, jitter=None, greyscale=None, lighting=None)
        for spec in (protocol.train, protocol.test)
    )
    machine = (trunk.zoo, trunk.device, trunk.workers, trunk.decode, trunk.check_images)
    return (probe.data, protocol.dataset, probe.splits, *geometry, trunk.seed, *machine)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m benchmarks.linear_probe", description=__doc__ or "")
    parser.add_argument(
        "--protocol", required=True, metavar="NAME", help=f"one of {', '.join(LINEAR_PROTOCOLS)}"
    )
    parser.add_argument(
        "--data",
        required=True,
        type=folder_flag,
        metavar="DIR",
        help="folder of the protocol's dataset",
    )
    add_set_flags(parser)
    add_trunk_flags(parser)
    add_common_flags(parser)
    args: argparse.Namespace = parser.parse_args(argv)
    protocol = LINEAR_PROTOCOLS[choose(args.protocol, LINEAR_PROTOCOLS, "linear-probe protocol")]
    (protocol,) = custom([protocol], args)
    item = probe_item(find_trunk(args), args.data, protocol)
    finish_command(args, [item])


if __name__ == "__main__":
    run_command(main)

"""Items of several probes that read one stream of images, each decoded once for all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar

from benchmarks import results
from benchmarks.probes.item import Probe, run_probes
from benchmarks.protocols import ImageTransform, LinearProtocol
from benchmarks.trunks import Trunk
from slurm.sweep import Item, Resources

TRUNKS = 8  # that read one stream, unless another number is asked for


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

    @property
    def batch(self) -> int:
        """Images of a step, which the processes share equally: what divides all of theirs."""
        return math.gcd(*(part.batch for part in self.parts))

    def done(self) -> bool:
        """Whether every record is there and valid."""
        return all(part.done() for part in self.parts)

    def run(self) -> None:
        """Train and evaluate those that are not done, and write their records."""
        run_probes(self.parts, self.key, limited=self.limited)


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
    machine = (trunk.zoo, trunk.device, trunk.workers, trunk.decode, trunk.check_images)
    return (probe.data, protocol.dataset, probe.splits, *_geometry(protocol), trunk.seed, *machine)


@lru_cache(maxsize=64)
def _geometry(protocol: LinearProtocol) -> tuple[ImageTransform, ImageTransform]:
    """The transforms without their colours, which each probe makes of the same pixels itself."""
    train, test = (
        replace(spec, jitter=None, greyscale=None, lighting=None)
        for spec in (protocol.train, protocol.test)
    )
    return train, test

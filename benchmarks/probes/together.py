"""Probes of the same images on as many trunks at once as the device holds."""

from collections.abc import Callable, Sequence

import torch

from benchmarks.datasets.splits import Dataset
from benchmarks.probes.frozen import FrozenTrunk
from benchmarks.probes.stream import Stream
from benchmarks.probes.training import Job, ProbeRun, share_of_batch
from benchmarks.trunks import Trunk
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError
from slurm.progress import say

FILLED = 0.5  # of a GPU's memory by trunks and heads; the other half is for what they compute


def run_jobs(
    jobs: Sequence[Job],
    dataset: Dataset,
    name: str,
    world: World,
    device: torch.device,
    finished: Callable[[ProbeRun], None],  # is called with each when it is done
    *,
    limited: bool,
) -> None:
    """Run all of them in streams of as many trunks as fit, or with all trunks in one.

    Raises the `UserError` of one that diverged after the others are done.
    """
    for job in jobs:
        share_of_batch(job.protocol, world.size)
    torch.use_deterministic_algorithms(True, warn_only=True)
    failures: list[UserError] = []
    left = by_trunk(jobs)
    while left:
        runs: list[ProbeRun] = []
        trunks = 0
        while left and not (trunks and limited and is_full(device)):
            trunks += 1
            runs += set_up(left.pop(0), dataset, world, device)
        if world.first and (trunks > 1 or left):
            rest = f"; {len(left)} more after them" if left else ""
            say(f"{name}: {len(runs)} probes of {trunks} trunks read one stream of images{rest}")
        for run in runs:
            run.beside = len(runs)
        stream = Stream(runs, dataset, name, world, finished)
        stream.run()
        failures += stream.failures
    if failures:
        raise failures[0]


def by_trunk(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs of each trunk."""
    found: dict[Trunk, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.trunk, []).append(job)
    return list(found.values())


def set_up(
    jobs: Sequence[Job], dataset: Dataset, world: World, device: torch.device
) -> list[ProbeRun]:
    """The probes of one trunk, each where it was when it was interrupted."""
    frozen = FrozenTrunk(jobs[0].trunk, device)
    classes = len(dataset.splits["train"].classes)
    runs = [ProbeRun(job, frozen, classes, world) for job in jobs]
    for run in runs:
        run.resume()
    return runs


def is_full(device: torch.device) -> bool:
    """Whether no other trunk should be put on the device, in any process."""
    full = False
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        others = total - free - torch.cuda.memory_reserved(device)
        full = others + torch.cuda.memory_allocated(device) > FILLED * total
    return distributed.any_true(full, device)

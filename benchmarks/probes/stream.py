"""Many probes fed by one stream of images, each decoded once an epoch.

The draws of an image depend on (seed, epoch, image) alone and all protocols read an epoch in the
same order, so a probe's numbers are those of a run of its own, bit for bit on a CPU. Probes that
stand at different places join when the stream comes to theirs, and leave it when they are done.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.datasets.splits import Dataset
from benchmarks.devices import to_device
from benchmarks.images.batches import Loader, Source
from benchmarks.images.colour import Colour
from benchmarks.images.requests import requests_of
from benchmarks.images.transforms import Geometry
from benchmarks.probes.pieces import Cutter, Piece
from benchmarks.probes.training import ProbeRun, order_of
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError
from slurm.progress import progress
from slurm.stop import Stopped, stop_requested
from slurm.tasks.voting import Votes

TRAIN, VAL = 0, 1  # the loader's sources
MISTAKE = 2  # the wish of a process that cannot read an image, above that to stop
DECODED = 64  # images that a worker hands over at once, at most
GRADED = 256  # validation images of a piece, of all processes
SAVE_SECONDS = 600.0  # between two saves of the states within an epoch


class _Lane(NamedTuple):
    """The probes that see the same colours in pieces of the same size."""

    colour: int  # which of the source's
    cutter: Cutter
    runs: Sequence[ProbeRun]


class Stream:
    """Feeds `runs`, which have the same images, geometry and seed, until all of them are done."""

    def __init__(
        self,
        runs: Sequence[ProbeRun],
        dataset: Dataset,
        name: str,  # of the bar
        world: World,
        finished: Callable[[ProbeRun], None],  # is called once with each that is done
    ) -> None:
        self.runs, self.name, self.world, self.finished = list(runs), name, world, finished
        self.device = runs[0].device
        self.splits = {TRAIN: dataset.splits["train"], VAL: dataset.splits["val"]}
        specs = {
            TRAIN: [run.protocol.train for run in runs],
            VAL: [run.protocol.test for run in runs],
        }
        self.colours = {
            source: list(dict.fromkeys(map(Colour.of, found))) for source, found in specs.items()
        }
        self.seed = runs[0].trunk.seed
        fast = runs[0].trunk.fast
        sources = [
            Source.of(split, Geometry(specs[source][0], fast=fast), self.colours[source], self.seed)
            for source, split in self.splits.items()
        ]
        self.loader = Loader(sources, runs[0].trunk.workers, self.device)
        self.labels = {
            source: torch.from_numpy(split.labels.astype(np.int64)).to(self.device)
            for source, split in self.splits.items()
        }
        self.votes = Votes(self.device)
        self.mistakes: list[UserError] = []  # images of this process that cannot be read
        self.failures: list[UserError] = []

    def run(self) -> None:
        """Train and evaluate all of them.

        A probe that diverges leaves the others alone: its error then is among `failures`.
        """
        self._let_go()
        images = len(order_of(self.seed, 0, len(self.splits[TRAIN].paths), self.world.size))
        total = max((run.protocol.epochs for run in self.runs), default=0) * images
        # One bar over the whole run, so that its ETA is the run's.
        done = min(
            (run.epoch * images + run.place * self.world.size for run in self.runs), default=0
        )
        quiet = not self.world.first
        with progress(desc=self.name, total=total, initial=done, unit="img", disable=quiet) as bar:
            while self.runs:
                epoch = min(run.epoch for run in self.runs)
                here = [run for run in self.runs if run.epoch == epoch]
                self.train(epoch, here, bar)
                self._drop_diverged(here)
                self._evaluate([run for run in here if run.evaluates and run in self.runs])
                for run in here:
                    if run in self.runs:
                        run.end_epoch()
                self._let_go()

    def train(self, epoch: int, runs: Sequence[ProbeRun], bar: Any) -> None:
        """One epoch of `runs` from where the last of them stands; `bar` is told of its images."""
        split = self.splits[TRAIN]
        order = order_of(self.seed, epoch, len(split.paths), self.world.size)
        mine = order[self.world.rank :: self.world.size]
        start = min(run.place for run in runs)
        for run in runs:
            run.begin_epoch()
        lanes = self._lanes(TRAIN, runs, lambda run: run.piece)
        for pieces in self._pieces(TRAIN, epoch, mine, start, min(run.piece for run in runs)):
            for lane in lanes:
                self._feed(lane, lane.cutter.add(pieces[lane.colour]), training=True)
            self._pause_if_asked()
            bar.update(len(pieces[0].labels) * self.world.size)
        for lane in lanes:
            self._feed(lane, lane.cutter.rest(), training=True)
        distributed.raise_together(self.mistakes)

    def _drop_diverged(self, runs: Sequence[ProbeRun]) -> None:
        """End the epoch's images in each run; those that cannot go on leave the stream."""
        for run in runs:
            try:
                run.end_images()
            except UserError as error:
                self.failures.append(error)
                self.runs.remove(run)

    def _evaluate(self, runs: Sequence[ProbeRun]) -> None:
        if not runs:
            return
        images, processes = len(self.splits[VAL].paths), self.world.size
        mine = np.arange(images)[self.world.rank :: processes]
        size = max(1, GRADED // processes)
        unit = min(DECODED, size)
        common = math.ceil(images // processes / unit)  # pieces that come in every process
        for run in runs:
            run.begin_evaluation()
        lanes = self._lanes(VAL, runs, lambda run: size)
        for number, pieces in enumerate(self._pieces(VAL, 0, mine, 0, size)):
            if number < common:
                self._pause_if_asked(now=number == 0)
            for lane in lanes:
                self._feed(lane, lane.cutter.add(pieces[lane.colour]), training=False)
        for lane in lanes:
            self._feed(lane, lane.cutter.rest(), training=False)
        distributed.raise_together(self.mistakes)
        for run in runs:
            run.end_evaluation(images)

    def _lanes(
        self, source: int, runs: Sequence[ProbeRun], size: Callable[[ProbeRun], int]
    ) -> list[_Lane]:
        found: dict[tuple[int, int], list[ProbeRun]] = {}
        for run in runs:
            spec = run.protocol.train if source == TRAIN else run.protocol.test
            found.setdefault((self.colours[source].index(Colour.of(spec)), size(run)), []).append(
                run
            )
        return [
            _Lane(colour, Cutter(piece, min(run.place for run in of) if source == TRAIN else 0), of)
            for (colour, piece), of in found.items()
        ]

    def _pieces(
        self, source: int, epoch: int, rows: NDArray[np.int64], start: int, size: int
    ) -> Iterator[list[Piece]]:
        """The images of `rows` from `start` on, as they come from the workers, for each colour."""
        unit = min(DECODED, size)
        requests = requests_of(source, epoch, rows[start:], unit)
        for request, decoded in zip(requests, self.loader.batches(requests, self.mistakes)):
            labels = self.labels[source][to_device(torch.from_numpy(request.rows), self.device)]
            pixels = decoded.pixels.to(self.device, non_blocking=True)
            yield [Piece(start, pixels, draws, labels) for draws in decoded.draws]
            start += len(request.rows)

    def _feed(self, lane: _Lane, pieces: Iterable[Piece], *, training: bool) -> None:
        """Give whole pieces to the probes of a lane, each trunk seeing each of them once."""
        source = TRAIN if training else VAL
        colour = self.colours[source][lane.colour]
        for piece in pieces:
            runs = [run for run in lane.runs if not training or piece.first >= run.place]
            trunks = list(dict.fromkeys(run.frozen for run in runs))
            normalisations = list(dict.fromkeys(trunk.normalise for trunk in trunks))
            images = colour.apply(piece.pixels, piece.draws, normalisations)
            for trunk in trunks:
                maps = trunk.maps(images[normalisations.index(trunk.normalise)])
                for run in runs:
                    if run.frozen is trunk:
                        (run.take if training else run.grade)(maps, piece.labels)

    def _let_go(self) -> None:
        """Hand over the probes that are done, whose memory then is free."""
        for run in list(self.runs):
            if run.done:
                self.runs.remove(run)
                self.finished(run)

    def _pause_if_asked(self, *, now: bool = False) -> None:
        """Save now and then; save and stop when the scheduler asks, all processes together.

        What came after the last vote may be of black images.
        """
        heard = self.votes.agree(MISTAKE if self.mistakes else int(stop_requested()), now=now)
        if heard == MISTAKE:
            distributed.raise_together(self.mistakes)
        if heard:
            for run in self.runs:
                run.save()
            distributed.barrier()  # the end of one process would end the first one's writing
            raise Stopped("; ".join(f"{run.name}: saved at {run.position}" for run in self.runs))
        for run in self.runs:
            if self.votes.held and time.monotonic() - run.saved > SAVE_SECONDS:
                run.save()

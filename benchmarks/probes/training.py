"""One probe in training: its heads, its optimizer, its place in the schedule, and its state file.

The order of images, the random crops and the initial heads depend on the seed alone, so a run that
continues from its state file ends in the same bits as one that was never interrupted. Who feeds
it, and what else is fed beside it, changes nothing: see `benchmarks.probes.stream`.
"""

import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.devices import products_of_heads
from benchmarks.probes.frozen import Features, FrozenTrunk, Maps
from benchmarks.probes.grades import Grades
from benchmarks.probes.grid import Grid
from benchmarks.probes.heads import Heads
from benchmarks.probes.optimization import evaluated_epochs, learning_rate, new_optimizer
from benchmarks.probes.pieces import number_of_pieces
from benchmarks.probes.record import Scores
from benchmarks.probes.state import read_state
from benchmarks.protocols import LinearProtocol, Point
from benchmarks.trunks import Trunk
from benchmarks.whole_files import write_tensors
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError
from slurm.progress import Clock, position, say, time_line


@dataclass(frozen=True)
class Job:
    """What is to be trained."""

    trunk: Trunk
    protocol: LinearProtocol
    state: Path  # the file that an interrupted run continues from
    name: str  # in messages
    points: tuple[Point, ...] = ()  # of heads beside the protocol's own


class ProbeRun:
    """One probe in progress: `epoch` and `step` say where it stands."""

    def __init__(self, job: Job, frozen: FrozenTrunk, classes: int, world: World) -> None:
        self.job = job
        self.trunk, self.protocol = job.trunk, job.protocol
        self.state, self.name = job.state, job.name
        self.clock = Clock()
        self.rank, self.processes = world.rank, world.size
        self.frozen, self.device = frozen, frozen.device
        self.size = share_of_batch(job.protocol, world.size)  # images a step, of this process
        self.piece = self.size // number_of_pieces(self.size)
        self.heads = self._new_heads(classes)
        self.optimizer = new_optimizer(self.heads, job.protocol)
        self.grid = Grid(self.heads, job.protocol, job.points)
        self.trained = self._distributed(self.heads)
        self.epoch = 0  # finished epochs
        self.step = 0  # finished steps of the next epoch
        self.loss: Tensor | None = None  # of the last step of this run, mean over the heads
        self.history: list[Scores] = []  # of the evaluated epochs
        self.seconds = 0.0  # of the runs that this one continues
        self.beside = 1  # probes that read the same stream of images, this one too
        self.saved = time.monotonic()
        self._batch: list[tuple[Features, Tensor]] = []  # pieces of the batch that is not whole
        self._grades = self._no_grades()
        self.outcomes: dict[str, Tensor] = {}  # of the last evaluation; see Grades.outcomes

    @property
    def place(self) -> int:
        """How many images of its share of the epoch this process has trained on."""
        return self.step * self.size

    @property
    def done(self) -> bool:
        """Whether the last epoch is."""
        return self.epoch >= self.protocol.epochs

    @property
    def evaluates(self) -> bool:
        """Whether the heads are evaluated after the epoch that is under way."""
        return self.epoch + 1 in evaluated_epochs(self.protocol)

    def _new_heads(self, classes: int) -> Heads:
        side = self.protocol.test.crop
        if self.protocol.taps == "blocks":
            self.frozen.tap_blocks()
        maps = self.frozen.maps(torch.zeros(1, 3, side, side, device=self.device))
        last = self.frozen.channels[self.frozen.last]
        channels = {tap: values.shape[1] for tap, values in maps.items()}
        channels |= {"avgpool": last, "positions": last}
        sample = self.features(maps)
        heads = Heads(channels, sample, classes, self.protocol, self.trunk.seed)
        return heads.to(self.device)

    def _distributed(self, heads: Heads) -> torch.nn.Module:
        if self.processes == 1:
            return heads
        devices = [self.device] if self.device.type == "cuda" else None
        with warnings.catch_warnings():
            # Since 2.13 torch wants a flag that earlier versions do not have.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            # The statistics of normalisation are equal everywhere already.
            return torch.nn.parallel.DistributedDataParallel(
                heads, device_ids=devices, broadcast_buffers=False
            )

    def features(self, maps: Maps) -> Features:
        """What the heads see of the trunk's maps."""
        return self.frozen.features(maps, self.protocol)

    def begin_epoch(self) -> None:
        """Before the images of an epoch, or what is left of them."""
        _set_learning_rate(self.optimizer, self.protocol, self.epoch)
        self.trained.train()
        self.grid.begin_epoch(self.epoch)
        self._batch = []

    def take(self, maps: Maps, labels: Tensor) -> None:
        """Train on one piece, as soon as its batch is whole."""
        self._batch.append((self.features(maps), labels))
        if len(self._batch) * self.piece == self.size:
            self._end_batch()

    def end_images(self) -> None:
        """Train on the last batch, which may be a smaller one, and look at the heads.

        Raises `UserError` for a head that diverged: once NaN, its weights stay NaN.
        """
        if self._batch:
            self._end_batch()
        for tap, head in self.heads.heads.items():
            if not all(bool(torch.isfinite(values).all()) for values in head.state_dict().values()):
                raise UserError(
                    f"{self.name}: the head on {tap} diverged in epoch {self.epoch + 1} at the "
                    f"protocol's learning rate {self.protocol.learning_rate}: its weights are no "
                    "longer finite numbers; look at the checkpoint, and leave --amp out"
                )
        self.grid.end_images(self.epoch + 1)

    def _end_batch(self) -> None:
        pieces, self._batch = self._batch, []
        features = {tap: torch.cat([piece[tap] for piece, _ in pieces]) for tap in pieces[0][0]}
        with products_of_heads(self.device, self.frozen.precision):
            self._train_step(features, torch.cat([labels for _, labels in pieces]))
        self.step += 1

    def _train_step(self, features: Features, labels: Tensor) -> None:
        logits = self.trained(features)
        # The heads share no parameter, so the sum trains each as if it were alone.
        losses = [F.cross_entropy(values, labels) for values in logits.values()]
        loss = torch.stack(losses).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.loss = loss.detach() / len(losses)
        self.grid.step(features, labels)

    def begin_evaluation(self) -> None:
        """Before the validation images."""
        self.trained.eval()
        self.grid.begin_evaluation()
        self._grades = self._no_grades()

    @torch.no_grad()
    def grade(self, maps: Maps, labels: Tensor) -> None:
        """Take in what every head says of some validation images."""
        features = self.features(maps)
        with products_of_heads(self.device, self.frozen.precision):
            for tap, logits in self.heads(features).items():
                self._grades.add(tap, logits, labels)
            self.grid.grade(features, labels)

    def end_evaluation(self, images: int) -> None:
        """Top-1 and top-5 of every head, in percent of `images`, go into the history.

        What became of every image is kept of the last epoch.
        """
        self.history.append(self._grades.percent(images))
        self.grid.end_evaluation(images)
        if self.epoch + 1 == self.protocol.epochs:
            self.outcomes = self._grades.outcomes(images, self.rank, self.processes)
        self._grades = self._no_grades()

    def _no_grades(self) -> Grades:
        return Grades(self.heads.heads, self.device)

    def end_epoch(self) -> None:
        """Count it, say how it went, and save."""
        evaluated = self.evaluates
        self.epoch += 1
        self.step = 0
        self._report(evaluated)
        self.save()

    def _report(self, evaluated: bool) -> None:
        if self.rank == 0:
            scores = self.history[-1] if evaluated else {}
            cells = " ".join(f"{tap} {top1:.2f}" for tap, (top1, _) in scores.items())
            epochs = self.protocol.epochs
            # No step of this run: it continued at the evaluation of the epoch.
            loss = "" if self.loss is None else f" loss {float(self.loss):.4f}"
            pace = time_line(self.seconds + self.clock.seconds(), self.epoch, epochs)
            say(f"{self.name}: epoch {self.epoch}/{epochs}{loss} {cells} | {pace}")

    @property
    def position(self) -> str:
        """Where it stands, in words."""
        return position(self.epoch, self.protocol.epochs, self.step)

    def save(self) -> None:
        """Write the state; every process holds the same, the first one writes it."""
        self.saved = time.monotonic()
        if self.rank:
            return
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds + self.clock.seconds(),
            "history": self.history,
            "outcomes": self.outcomes,
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "grid": self.grid.state(),
        }
        write_tensors(self.state, state)

    def resume(self) -> None:
        """Continue from the state file, if there is a readable one, all processes from the same."""
        state = read_state(self.state, self.heads, self.optimizer, self.protocol, self.grid)
        if state is not None:
            self.heads.load_state_dict(state["heads"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.step = state["epoch"], state["step"]
            self.history, self.seconds = state["history"], state["seconds"]
            self.outcomes = state.get("outcomes", {})
            if self.grid.points:
                self.grid.load(state["grid"])
            if self.rank == 0:
                say(f"{self.name}: continues at {self.position}")
        if distributed.broadcast_object((self.epoch, self.step)) != (self.epoch, self.step):
            raise RuntimeError(f"the processes read different versions of {self.state}")


def share_of_batch(protocol: LinearProtocol, processes: int) -> int:
    """Images of a batch that each process takes; `UserError` unless all can take as many."""
    if protocol.batch_size % processes:
        raise UserError(
            f"{protocol.name} has batches of {protocol.batch_size} images, which "
            f"{processes} processes cannot share equally: use a divisor of it"
        )
    return protocol.batch_size // processes


def order_of(seed: int, epoch: int, images: int, processes: int) -> NDArray[np.int64]:
    """An epoch's images, padded by its first ones so that all processes have as many.

    Batches of all protocols are contiguous parts of it, of which each process takes every n-th
    image.
    """
    order = np.random.default_rng([seed, epoch]).permutation(images)
    return np.resize(order, math.ceil(images / processes) * processes)


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, protocol: LinearProtocol, epoch: int
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(protocol, epoch)

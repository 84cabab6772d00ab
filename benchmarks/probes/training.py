"""The training loop of the linear probes: one frozen forward pass per image for all heads.

The trunk stays in evaluation mode, as in all published protocols. The order of images, the random
crops and the initial heads depend on the seed alone, so a run that continues from its state file
ends in the same bits as one that was never interrupted.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import results
from benchmarks.backbones.pooling import pool
from benchmarks.datasets.splits import Dataset
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.metrics import topk_correct
from benchmarks.probes.heads import Heads
from benchmarks.probes.optimization import evaluated_epochs, learning_rate, new_optimizer
from benchmarks.probes.pieces import Batch, joined, number_of_pieces
from benchmarks.probes.record import Scores
from benchmarks.probes.state import read_state
from benchmarks.protocols import LinearProtocol
from benchmarks.trunks import Trunk, load_trunk
from benchmarks.whole_files import write_tensors
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError
from slurm.progress import position, progress, say, time_line
from slurm.stop import Stopped, stop_requested

SAVE_SECONDS = 600.0  # between two saves of the state within an epoch


class ProbeRun:
    """One probe in progress: `epoch` and `step` say where it stands."""

    def __init__(
        self,
        trunk: Trunk,
        dataset: Dataset,
        protocol: LinearProtocol,
        state: Path,  # the file that an interrupted run continues from
        name: str,  # in messages
        world: World,
        device: torch.device,
    ) -> None:
        self.trunk, self.dataset, self.protocol = trunk, dataset, protocol
        self.state, self.name = state, name
        self.clock = results.Clock()
        self.rank, self.processes = world.rank, world.size
        self.device = device
        if protocol.batch_size % self.processes:
            raise UserError(
                f"{protocol.name} has batches of {protocol.batch_size} images, which "
                f"{self.processes} processes cannot share equally: use a divisor of it"
            )
        torch.use_deterministic_algorithms(True, warn_only=True)
        self.backbone = load_trunk(trunk).to(self.device)
        self.train_transform = build_transform(protocol.train, trunk.mean, trunk.std)
        self.test_transform = build_transform(protocol.test, trunk.mean, trunk.std)
        self.heads = self._new_heads()
        self.optimizer = new_optimizer(self.heads, protocol)
        self.trained = self._distributed(self.heads)
        self.epoch = 0  # finished epochs
        self.step = 0  # finished steps of the next epoch
        self.loss: float | None = None  # of this run's last step, mean over the heads
        self.history: list[Scores] = []  # of the evaluated epochs
        self.seconds = 0.0  # of the runs that this one continues
        self.saved = time.monotonic()

    def train(self) -> None:
        """Go on from the state file, if there is one, to the end of the last epoch."""
        self.resume()
        while self.epoch < self.protocol.epochs:
            self.train_epoch()

    def _new_heads(self) -> Heads:
        side = self.protocol.test.crop
        sample = self.features(torch.zeros(1, 3, side, side))
        channels = {tap.name: tap.channels for tap in self.backbone.taps}
        channels["avgpool"] = self.backbone.taps[-1].channels
        classes = len(self.dataset.splits["train"].classes)
        heads = Heads(channels, sample, classes, self.protocol, self.trunk.seed)
        return heads.to(self.device)

    def _distributed(self, heads: Heads) -> torch.nn.Module:
        if self.processes == 1:
            return heads
        devices = [self.device] if self.device.type == "cuda" else None
        # The statistics of normalisation are equal everywhere already.
        return torch.nn.parallel.DistributedDataParallel(
            heads, device_ids=devices, broadcast_buffers=False
        )

    @torch.no_grad()
    def features(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pooled taps of a batch, float32: (N, 3, H, W) -> {tap: (N, D)}."""
        with torch.autocast(self.device.type, enabled=self.trunk.amp):
            maps = self.backbone(pixels.to(self.device, non_blocking=True))
        if self.protocol.taps == "avgpool":
            last = maps[self.backbone.taps[-1].name]
            return {"avgpool": last.float().mean((2, 3))}
        return {
            tap: values.float() for tap, values in pool(maps, self.protocol.pooled_size).items()
        }

    def order(self) -> NDArray[np.int64]:
        """This epoch's images, padded by its first ones so that all processes have as many."""
        count = len(self.dataset.splits["train"].paths)
        draws = np.random.default_rng([self.trunk.seed, self.epoch])
        order = draws.permutation(count)
        return np.resize(order, math.ceil(count / self.processes) * self.processes)

    def train_epoch(self) -> None:
        """Train the rest of an epoch, evaluate where the protocol does, and save."""
        protocol, split = self.protocol, self.dataset.splits["train"]
        _set_learning_rate(self.optimizer, protocol, self.epoch)
        order = self.order()
        steps = math.ceil(len(order) / protocol.batch_size)
        mine = order[self.step * protocol.batch_size :]
        # Contiguous batches of the whole run, of which each process takes every n-th image.
        mine = mine[self.rank :: self.processes]
        size = protocol.batch_size // self.processes
        pieces = number_of_pieces(size)
        batches = load_batches(
            split,
            self.train_transform,
            mine,
            batch_size=size // pieces,
            seed=self.trunk.seed,
            epoch=self.epoch,
            workers=self.trunk.workers,
        )
        labels = torch.from_numpy(split.labels.astype(np.int64))
        self.trained.train()
        for features, truth in self._bar(joined(batches, pieces, self.features, labels), steps):
            self.loss = self._train_step(features, truth)
            self.step += 1
            self._pause_if_asked()
        self._check_heads()
        evaluated = self.epoch + 1 in evaluated_epochs(protocol)
        if evaluated:
            self.history.append(self.evaluate())
        self.epoch += 1
        self.step = 0
        self._report(evaluated)
        self.save()

    def _bar(self, batches: Iterator[Batch], steps: int) -> Iterator[Batch]:
        """The batches behind one bar over the whole run, so that its ETA is the run's."""
        total = self.protocol.epochs * steps
        done = self.epoch * steps + self.step
        quiet = self.rank > 0
        with progress(desc=self.name, total=total, initial=done, disable=quiet) as bar:
            for batch in batches:
                yield batch
                bar.update()

    def _train_step(self, features: dict[str, Tensor], labels: Tensor) -> float:
        labels = labels.to(self.device)
        logits = self.trained(features)
        # The heads share no parameter, so the sum trains each as if it were alone.
        losses = [F.cross_entropy(values, labels) for values in logits.values()]
        loss = torch.stack(losses).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach().item() / len(losses)

    def _check_heads(self) -> None:
        """Raise `UserError` for a head that diverged: once NaN, its weights stay NaN."""
        for tap, head in self.heads.heads.items():
            if not all(bool(torch.isfinite(values).all()) for values in head.state_dict().values()):
                raise UserError(
                    f"{self.name}: the head on {tap} diverged in epoch {self.epoch + 1} at the "
                    f"protocol's learning rate {self.protocol.learning_rate}: its weights are no "
                    "longer finite numbers; look at the checkpoint, and leave --amp out"
                )

    def evaluate(self) -> Scores:
        """Top-1 and top-5 of every head on the whole val split, in percent."""
        split = self.dataset.splits["val"]
        mine = np.arange(len(split.paths))[self.rank :: self.processes]
        size = max(1, 256 // self.processes)
        common = math.ceil(len(split.paths) // self.processes / size)  # batches of every process
        labels = torch.from_numpy(split.labels.astype(np.int64))
        batches = load_batches(
            split,
            self.test_transform,
            mine,
            batch_size=size,
            seed=self.trunk.seed,
            epoch=0,
            workers=self.trunk.workers,
        )
        self.trained.eval()
        correct = {
            tap: torch.zeros(2, dtype=torch.int64, device=self.device) for tap in self.heads.heads
        }
        with torch.no_grad():
            for number, (pixels, indices) in enumerate(batches):
                if number < common:
                    self._pause_if_asked()
                truth = labels[indices].to(self.device)
                for tap, logits in self.heads(self.features(pixels)).items():
                    correct[tap] += topk_correct(logits, truth, (1, 5))
        counts = torch.stack(list(correct.values()))
        if dist.is_initialized():
            dist.all_reduce(counts)
        percent = 100.0 * counts.double().cpu() / len(split.paths)
        return {tap: (row[0].item(), row[1].item()) for tap, row in zip(correct, percent)}

    def _report(self, evaluated: bool) -> None:
        if self.rank == 0:
            scores = self.history[-1] if evaluated else {}
            cells = " ".join(f"{tap} {top1:.2f}" for tap, (top1, _) in scores.items())
            epochs = self.protocol.epochs
            # No step of this run: it continued at the evaluation of the epoch.
            loss = "" if self.loss is None else f" loss {self.loss:.4f}"
            pace = time_line(self.seconds + self.clock.seconds(), self.epoch, epochs)
            say(f"{self.name}: epoch {self.epoch}/{epochs}{loss} {cells} | {pace}")

    def _position(self) -> str:
        return position(self.epoch, self.protocol.epochs, self.step)

    def _pause_if_asked(self) -> None:
        """Save now and then; save and stop when the scheduler asks, all processes together."""
        if distributed.any_true(stop_requested(), self.device):
            self.save()
            distributed.barrier()  # the end of one process would end the first one's writing
            raise Stopped(f"{self.name}: saved at {self._position()}")
        if time.monotonic() - self.saved > SAVE_SECONDS:
            self.save()

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
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_tensors(self.state, state)

    def resume(self) -> None:
        """Continue from the state file, if there is a readable one, all processes from the same."""
        state = read_state(self.state, self.heads, self.optimizer)
        if state is not None:
            self.heads.load_state_dict(state["heads"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.step = state["epoch"], state["step"]
            self.history, self.seconds = state["history"], state["seconds"]
            if self.rank == 0:
                say(f"{self.name}: continues at {self._position()}")
        if distributed.broadcast_object((self.epoch, self.step)) != (self.epoch, self.step):
            raise RuntimeError(f"the processes read different versions of {self.state}")


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, protocol: LinearProtocol, epoch: int
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(protocol, epoch)

"""The loop of rotation prediction: four turns of each image, one linear layer, cross-entropy.

Nothing random is remembered: the order of an epoch is keyed by seed and epoch, the augmentation of
an image by these and the image (of a repeated one, by its place among these), so that a run that
continues makes the steps of one that did not stop.
"""

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.backbones.backbone import build_backbone
from benchmarks.checkpoints.files import read_file, what_is_wrong
from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.batches import Images
from benchmarks.images.transforms import build_transform
from benchmarks.whole_files import write_tensors
from pretrain.deepcluster.identity import differences
from pretrain.deepcluster.model import AveragePool, generator
from pretrain.deepcluster.sampling import plan_epoch
from pretrain.deepcluster.watching.history import History, add_row
from pretrain.deepcluster.watching.records import record_epoch, record_start
from pretrain.recipe_checks import check_share
from pretrain.rotation_recipes import Recipe
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError
from slurm.progress import clock, position, progress, say, time_line
from slurm.stop import Stopped, received, stop_requested

VOTE_STEPS = 10  # how often several processes agree on a save or a stop
HEAD_STD = 0.01
REMEDY = "remove it to begin anew, or choose another --name"
CPU = torch.device("cpu")  # where images come to


class RotationNet(nn.Module):
    """Backbone -> average of its last stage -> four scores, one for each number of turns."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        super().__init__()
        self.backbone = build_backbone(recipe.arch, sobel=recipe.sobel, seed=seed)
        last = self.backbone.taps[-1]
        self._last, self.pool = last.name, AveragePool()
        self.head = nn.Linear(last.channels, 4)
        with torch.no_grad():
            self.head.weight.normal_(0.0, HEAD_STD, generator=generator(seed, 2))
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pixels -> (N, 4)."""
        scores: Tensor = self.head(self.pool(self.backbone(images)[self._last]))
        return scores


def in_four_turns(images: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 3, S, S) -> (4 N, 3, S, S) turned by 0, 1, 2 and 3 quarters, and these numbers (4 N,)."""
    turned = torch.cat([torch.rot90(images, turns, (2, 3)) for turns in range(4)])
    return turned, torch.arange(4, device=images.device).repeat_interleave(len(images))


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of a step, counted from 0 over the whole run of `steps` an epoch."""
    drops = sum(step // steps >= milestone for milestone in recipe.milestones)
    rate = recipe.learning_rate * recipe.gamma**drops
    left = 1 - step / (recipe.warmup_epochs * steps) if recipe.warmup_epochs else 0
    return rate * (1 - max(left, 0.0) * (1 - recipe.warmup_ratio))


def epoch_line(history: History, epochs: int) -> str:
    """The last epoch in one line, with what all of them took and what is left."""
    last, done = {name: values[-1] for name, values in history.items()}, len(history["loss"])
    timed = [seconds for seconds in history["seconds"] if seconds is not None]  # older ones are not
    pace = time_line(sum(timed), len(timed), len(timed) + epochs - done)
    return (
        f"epoch {done}/{epochs} | loss {last['loss']:.4f} | {last['top1']:.1f} % of turns told | "
        f"{clock(last['seconds'])}, {pace}"
    )


@dataclass(frozen=True)
class Settings:
    """What a run is told beside its recipe and its images."""

    name: str  # of the checkpoint
    key: str  # of the item, in messages
    state: Path  # what an interrupted run continues from
    log: Path  # one JSON line per finished epoch
    identity: str  # which run the state is of
    seed: int
    workers: int  # processes that decode images, per training process
    save_seconds: float  # between two saves of the state within an epoch


class Training:
    """One run in progress: `epoch` and `step` say where it stands."""

    def __init__(
        self,
        recipe: Recipe,
        images: ImageSplit,
        settings: Settings,
        world: World,
        device: torch.device,
    ) -> None:
        check_share(recipe.batch_size, world.size, recipe.name)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
        self.recipe, self.images, self.settings = recipe, images, settings
        self.world, self.device = world, device
        self.transform = build_transform(recipe.train, recipe.mean, recipe.std)
        self.net = RotationNet(recipe, settings.seed).to(device)
        self.trained: nn.Module = self.net  # the same, with averaged gradients if there are many
        if world.size > 1:
            devices = [device] if device.type == "cuda" else None
            self.trained = nn.parallel.DistributedDataParallel(self.net, device_ids=devices)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self.epoch = 0  # finished epochs
        self.step = 0  # finished steps of the next epoch
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)  # loss, right answers
        self.history: History = {}
        self.seconds = 0.0  # of this epoch before `started`
        self.started = self.saved = time.monotonic()
        self.mistakes: list[UserError] = []  # images of this process that cannot be read

    def train(self) -> None:
        """Go on from the state, if there is one, to the end of the last epoch.

        Raises `UserError` for a state that is damaged or of another run, and `Stopped` when a stop
        is asked for, which is saved.
        """
        self._resume()
        if self.world.first:
            record_start(self.settings.log, self.history)
        while self.epoch < self.recipe.epochs:
            self._train_epoch()

    def _train_epoch(self) -> None:
        seed, rank, size = self.settings.seed, self.world.rank, self.world.size
        order = np.random.default_rng([seed, self.epoch]).permutation(len(self.images.paths))
        plan = plan_epoch(order, self.recipe.batch_size)
        mine = plan.share(rank, size)
        ids, steps = mine[self.step :].ravel(), len(mine)
        images = Images(self.images, [self.transform], seed, self.settings.workers, CPU)
        batches = images.batches(
            *(0, self.epoch, plan.images[ids], mine.shape[1]), keys=ids, mistakes=self.mistakes
        )
        self.trained.train()
        bar = progress(
            desc=self.settings.key,
            total=steps * self.recipe.epochs,
            initial=steps * self.epoch + self.step,
            unit="step",
            disable=not self.world.first,
        )
        with bar:
            for pixels, _ in batches:
                self._train_step(pixels, steps)
                self.step += 1
                bar.update()
                if self.step < steps:
                    self._save_or_stop()
        self._end_epoch(steps, 4 * mine.size)

    def _train_step(self, pixels: Tensor, steps: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.epoch * steps + self.step, steps)
        turned, turns = in_four_turns(pixels.to(self.device, non_blocking=True))
        scores = self.trained(turned)
        loss = F.cross_entropy(scores, turns)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        right = (scores.detach().argmax(1) == turns).sum()
        self.sums += torch.stack([loss.detach().double(), right.double()])

    def _end_epoch(self, steps: int, seen: int) -> None:
        distributed.raise_together(self.mistakes)
        self._agree()
        row = {
            "loss": float(self.sums[0]) / steps,
            "top1": 100 * float(self.sums[1]) / seen,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": self.seconds + time.monotonic() - self.started,
            "ended": time.time(),
            "processes": self.world.size,
        }
        add_row(self.history, row)
        self.epoch, self.step = self.epoch + 1, 0
        self.sums.zero_()
        self.seconds, self.started = 0.0, time.monotonic()
        self._save()
        if self.world.first:
            record_epoch(self.settings.log, self.history)
            say(f"{self.settings.name}: {epoch_line(self.history, self.recipe.epochs)}")
        if distributed.any_true(stop_requested(), self.device):
            raise self._stopped()

    def _save_or_stop(self) -> None:
        """Save now and then; save and stop when it is asked for, all processes at one step."""
        if self.world.size > 1 and self.step % VOTE_STEPS:
            return
        distributed.raise_together(self.mistakes)
        due = time.monotonic() - self.saved > self.settings.save_seconds
        if not distributed.any_true(due or stop_requested(), self.device):
            return
        self._agree()
        self._save()
        if distributed.any_true(stop_requested(), self.device):
            raise self._stopped()

    def _agree(self) -> None:
        """Make the sums the same in every process; `UserError` when they are not finite."""
        distributed.mean(self.sums)
        if not torch.isfinite(self.sums).all():
            raise UserError(
                f"{self.settings.key}: the loss is not finite in epoch {self.epoch + 1}: training "
                "has diverged; use a lower --learning-rate (the last good state is kept)"
            )

    def _stopped(self) -> Stopped:
        names = ", ".join(signal.Signals(number).name for number in received())
        where = position(self.epoch, self.recipe.epochs, self.step)
        return Stopped(f"{self.settings.key}: by {names or 'another process'}, saved at {where}")

    def _save(self) -> None:
        self.saved = time.monotonic()
        if self.world.first:
            content = {
                "identity": self.settings.identity,
                "epoch": self.epoch,
                "step": self.step,
                "sums": self.sums.cpu(),
                "seconds": self.seconds + time.monotonic() - self.started,
                "net": self.net.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "history": self.history,
            }
            write_tensors(self.settings.state, content)

    def _resume(self) -> None:
        path = self.settings.state
        if path.exists():
            try:
                state = read_file(path)
            except UserError as error:
                found = what_is_wrong(error)
                raise UserError(f"{path} cannot be continued from ({found}): {REMEDY}") from None
            self._take_up(path, state)
            if self.world.first and self.epoch < self.recipe.epochs:
                where = position(self.epoch, self.recipe.epochs, self.step)
                say(f"{self.settings.name}: continues at {where}")
        at = (self.epoch, self.step)
        if distributed.broadcast_object(at) != at:
            raise RuntimeError(f"the processes read different versions of {path}")

    def _take_up(self, path: Path, state: dict[str, Any]) -> None:
        remedy, identity = REMEDY, self.settings.identity
        if state.get("identity") != identity:
            what = differences(str(state.get("identity")), identity)
            raise UserError(f"{path} is of another run ({what}): choose another --name")
        try:
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.sums.copy_(state["sums"])
            self.epoch, self.step = int(state["epoch"]), int(state["step"])
            self.seconds = float(state.get("seconds", 0.0))  # older states do not say
            self.history = {name: list(values) for name, values in state["history"].items()}
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({error}): {remedy}") from None
        lengths = {len(values) for values in self.history.values()}
        steps = -(-len(self.images.paths) // self.recipe.batch_size)
        if self.epoch < 0 or not 0 <= self.step < steps or lengths - {self.epoch}:
            raise UserError(f"{path} is damaged (its position cannot be): {remedy}")
        if (self.epoch, self.step) > (self.recipe.epochs, 0):
            raise UserError(
                f"{path} stands after {self.epoch} epochs: ask for as many --epochs, or for more"
            )

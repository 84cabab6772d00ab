"""The loop of rotation prediction: four turns of each image, one linear layer, cross-entropy.

Nothing random is remembered: the order of an epoch is keyed by seed and epoch, the augmentation of
an image by these and the image, so that a run that continues makes the steps of one that did not
stop.
"""

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.backbones.backbone import build_backbone
from benchmarks.checkpoints.files import read_file
from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.whole_files import write_tensors
from pretrain.deepcluster.images import select
from pretrain.deepcluster.model import AveragePool, generator
from pretrain.deepcluster.sampling import plan_epoch
from pretrain.deepcluster.settings import Settings
from pretrain.deepcluster.watching.history import History, add_row, clock, write_log
from pretrain.rotation_recipes import Recipe
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError
from slurm.progress import progress, say
from slurm.stop import Stopped, stop_requested

VOTE_STEPS = 10  # how often several processes agree on a save or a stop
HEAD_STD = 0.01


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


def train(
    recipe: Recipe, images: ImageSplit, settings: Settings, world: World, device: torch.device
) -> tuple[dict[str, Tensor], History]:
    """Go on from the state, if there is one, to the last epoch: the trunk's tensors, the history.

    Raises `UserError` for a state that is damaged or of another run, and `Stopped` when a stop is
    asked for, which is saved.
    """
    seed = settings.seed
    if recipe.batch_size % world.size:
        raise UserError(f"{world.size} processes cannot share batches of {recipe.batch_size}")
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    net = RotationNet(recipe, seed).to(device)
    trained: nn.Module = net
    if world.size > 1:
        devices = [device] if device.type == "cuda" else None
        trained = nn.parallel.DistributedDataParallel(net, device_ids=devices)
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    sums = torch.zeros(2, dtype=torch.float64, device=device)  # loss and right answers, by step
    at, history = _resume(settings, recipe, net, optimizer, sums)
    if world.first and at:
        say(f"{settings.name}: continues at epoch {at[0] + 1}/{recipe.epochs}, step {at[1]}")
    epoch, begun = at or (0, 0)
    transform = build_transform(recipe.train, recipe.mean, recipe.std)
    saved = started = time.monotonic()

    def save(step: int) -> None:
        nonlocal saved
        distributed.mean(sums)  # the same in every process, as it will be after a resume
        if not torch.isfinite(sums).all():
            raise UserError(
                f"{settings.key}: the loss is not finite in epoch {epoch + 1}: training has "
                "diverged; use a lower --learning-rate"
            )
        if world.first:
            content = {
                "identity": settings.identity,
                "epoch": epoch,
                "step": step,
                "sums": sums.cpu(),
            }
            parts = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            write_tensors(settings.state, {**content, **parts, "history": history})
        saved = time.monotonic()

    def stop_if_asked(step: int) -> None:
        if distributed.any_true(stop_requested(), device):
            where = f"epoch {epoch + 1}, step {step}"
            raise Stopped(f"{settings.key}: stopped and saved at {where}; --resume continues there")

    while epoch < recipe.epochs:
        order = np.random.default_rng([seed, epoch]).permutation(len(images.paths))
        plan = plan_epoch(order, recipe.batch_size)
        mine, steps = plan.share(world.rank, world.size), len(plan.ids)
        batches = load_batches(
            select(images, plan.images),
            transform,
            mine[begun:].ravel(),
            batch_size=mine.shape[1],
            seed=seed,
            epoch=epoch,
            workers=settings.workers,
        )
        trained.train()
        bar = progress(
            desc=settings.key, total=steps, initial=begun, unit="step", disable=not world.first
        )
        with bar:
            for step, (pixels, _) in enumerate(batches, start=begun):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(recipe, epoch * steps + step, steps)
                turned, turns = in_four_turns(pixels.to(device))
                scores = trained(turned)
                loss = F.cross_entropy(scores, turns)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                right = (scores.detach().argmax(1) == turns).sum().double()
                sums += torch.stack([loss.detach().double(), right])
                bar.update()
                votes = world.size == 1 or (step + 1) % VOTE_STEPS == 0
                due = time.monotonic() - saved > settings.save_seconds
                if (
                    step + 1 < steps
                    and votes
                    and distributed.any_true(due or stop_requested(), device)
                ):
                    save(step + 1)
                    stop_if_asked(step + 1)
        distributed.mean(sums)
        row = {
            "loss": float(sums[0] / steps),
            "top1": 100 * float(sums[1]) / (4 * mine.size),
            "learning_rate": optimizer.param_groups[0]["lr"],
        }
        if np.isfinite(row["loss"]):  # save says so if it is not
            add_row(history, row)
            sums.zero_()
            epoch, begun = epoch + 1, 0
        save(0)
        if world.first:
            write_log(settings.log, history)
            say(
                f"{settings.name}: epoch {epoch}/{recipe.epochs} | loss {row['loss']:.4f} | "
                f"{row['top1']:.1f} % of turns told | {clock(time.monotonic() - started)}"
            )
        stop_if_asked(0)
    return {name: value.cpu() for name, value in net.backbone.trunk.state_dict().items()}, history


def _resume(
    settings: Settings,
    recipe: Recipe,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    sums: Tensor,
) -> tuple[tuple[int, int] | None, History]:
    """Where the state stands, with its parts taken up; None where there is no state."""
    if not settings.state.exists():
        return None, {}
    state: dict[str, Any] = read_file(settings.state)
    if state.get("identity") != settings.identity:
        raise UserError(f"{settings.state} is of another run: choose another --name")
    try:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        sums.copy_(state["sums"])
        at = (int(state["epoch"]), int(state["step"]))
        history = {str(name): list(values) for name, values in state["history"].items()}
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise UserError(f"{settings.state} is damaged ({error}): choose another --name") from None
    if at > (recipe.epochs, 0):
        raise UserError(
            f"{settings.state} stands after {at[0]} epochs: ask for as many, or for more"
        )
    if distributed.broadcast_object(at) != at:
        raise RuntimeError(f"the processes read different versions of {settings.state}")
    return at, history

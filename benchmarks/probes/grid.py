"""Heads at other learning rates and weight decays than the protocol's, on the very same features.

They begin with the weights that the protocol's own heads begin with, so that each is the head that
a run with these numbers would train. Nothing of the own heads depends on them. The heads of one tap
have their weights side by side: one product serves all, and one optimizer steps them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.probes.grades import Grades, Percent
from benchmarks.probes.heads import FrozenInputNorm, Head, Heads
from benchmarks.probes.optimization import learning_rate, optimizer_of
from benchmarks.protocols import LinearProtocol, Point
from slurm import distributed


class StackedHeads(nn.Module):
    """The heads of P points on one tap: (N, D) -> (N, P, classes).

    `weight` is (P, classes, D), `bias` (P, classes); with affine normalisation `scale` and `shift`
    are (P, channels). The statistics of normalisation are those of the input: one for all points.
    """

    def __init__(self, head: Head, points: int) -> None:
        """All points begin where `head` stands."""
        super().__init__()
        self.points, self.channels = points, head.channels
        self.norm = None if head.norm is None else FrozenInputNorm(head.channels)
        self.weight = _repeated(head.linear.weight, points)
        self.bias = _repeated(head.linear.bias, points)
        self.scale = None if head.scale is None else _repeated(head.scale, points)
        self.shift = None if head.shift is None else _repeated(head.shift, points)
        self.to(head.linear.weight.device)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits of a batch."""
        if self.norm is not None:
            pooled = self.norm(pooled.view(len(pooled), self.channels, -1)).flatten(1)
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if self.scale is not None and self.shift is not None:  # taken into the linear layer
            by_channel = weight.view(*bias.shape, self.channels, -1)
            bias = bias + (by_channel.sum(3) * self.shift[:, None]).sum(2)
            weight = (by_channel * self.scale[:, None, :, None]).flatten(2)
        logits = F.linear(pooled, weight.flatten(0, 1), bias.flatten())
        return logits.view(len(pooled), self.points, -1)

    def loss(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """The sum over the points of their mean cross-entropies, as the points share no weight."""
        logits = self(pooled).flatten(0, 1)
        repeated = labels.repeat_interleave(self.points)
        return F.cross_entropy(logits, repeated, reduction="sum") / len(labels)

    def finite(self) -> list[bool]:
        """Of each point, whether all of its numbers are."""
        values = [one.detach().flatten(1).isfinite().all(1) for one in self.parameters()]
        found: list[bool] = torch.stack(values).all(0).tolist()
        return found


class _Tap:
    """Stacked heads in training."""

    def __init__(self, head: Head, settings: Sequence[LinearProtocol]) -> None:
        self.settings = settings
        self.heads = StackedHeads(head, len(settings))
        # Every point's part of each stack, in the same memory: the optimizer steps these, each by
        # its own numbers, and the product reads the stack.
        self.parts = {
            name: [nn.Parameter(one) for one in stack.detach()]
            for name, stack in self.heads.named_parameters()
        }
        groups = []
        for number, setting in enumerate(settings):
            mine = {name: parts[number] for name, parts in self.parts.items()}
            linear = [mine.pop("weight"), mine.pop("bias")]
            decay, rate = setting.weight_decay, setting.learning_rate
            groups.append({"params": linear, "lr": rate, "weight_decay": decay})
            if mine:
                groups.append({"params": [*mine.values()], "lr": rate, "weight_decay": 0.0})
        self.optimizer = optimizer_of(groups, settings[0], fused=True)

    def set_rates(self, epoch: int) -> None:
        """The learning rates of an epoch, counted from 0."""
        groups = self.optimizer.param_groups
        of_a_point = len(groups) // len(self.settings)
        for number, group in enumerate(groups):
            group["lr"] = learning_rate(self.settings[number // of_a_point], epoch)

    def step(self, pooled: Tensor, labels: Tensor) -> None:
        """Train on one batch; gradients are the mean of those of all processes."""
        names, stacks = zip(*self.heads.named_parameters())
        found = torch.autograd.grad(self.heads.loss(pooled, labels), stacks)
        for name, gradients in zip(names, found):
            for part, gradient in zip(self.parts[name], distributed.mean(gradients)):
                part.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()


class Grid:
    """The heads of all points beside the own heads of a probe; without points it does nothing."""

    def __init__(self, heads: Heads, protocol: LinearProtocol, points: Sequence[Point]) -> None:
        """`heads` are the probe's own, at their initial weights and on their device."""
        self.points = tuple(points)
        settings = [replace(protocol, **point._asdict()) for point in points]
        own = {tap: head for tap, head in heads.heads.items() if isinstance(head, Head)}
        self.taps = {tap: _Tap(head, settings) for tap, head in own.items() if points}
        self.history: list[Percent] = []  # of the evaluated epochs, by `name_of`
        self.diverged: dict[str, int] = {}  # by `name_of`: the epoch, from 1
        self._device = next(heads.parameters()).device
        self._grades = self._no_grades()

    def begin_epoch(self, epoch: int) -> None:
        """Before the images of an epoch, counted from 0."""
        for tap in self.taps.values():
            tap.set_rates(epoch)
            tap.heads.train()

    def step(self, pooled: dict[str, Tensor], labels: Tensor) -> None:
        """Train on one batch."""
        for name, tap in self.taps.items():
            tap.step(pooled[name], labels)

    def end_images(self, epoch: int) -> None:
        """Note the heads that diverged in an epoch, counted from 1: once NaN, they stay NaN."""
        for name, tap in self.taps.items():
            for number, finite in enumerate(tap.heads.finite()):
                if not finite:
                    self.diverged.setdefault(name_of(name, number), epoch)

    def begin_evaluation(self) -> None:
        """Before the validation images."""
        self._grades = self._no_grades()
        for tap in self.taps.values():
            tap.heads.eval()

    def grade(self, pooled: dict[str, Tensor], labels: Tensor) -> None:
        """Take in what every head says of some validation images."""
        for name, tap in self.taps.items():
            for number, logits in enumerate(tap.heads(pooled[name]).unbind(1)):
                self._grades.add(name_of(name, number), logits, labels)

    def end_evaluation(self, images: int) -> None:
        """Top-1 and top-5 of every head, in percent of `images`, go into the history."""
        if self.taps:
            self.history.append(self._grades.percent(images))
        self._grades = self._no_grades()

    def _no_grades(self) -> Grades:
        points = range(len(self.points))
        names = [name_of(tap, point) for tap in self.taps for point in points]
        return Grades(names, self._device)

    def state(self) -> dict[str, Any]:
        """All that a run that continues needs."""
        return {
            "points": [tuple(point) for point in self.points],
            "history": self.history,
            "diverged": self.diverged,
            "heads": {name: tap.heads.state_dict() for name, tap in self.taps.items()},
            "optimizers": {name: tap.optimizer.state_dict() for name, tap in self.taps.items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave, which fits: see `benchmarks.probes.state`."""
        self.history, self.diverged = state["history"], state["diverged"]
        for name, tap in self.taps.items():
            tap.heads.load_state_dict(state["heads"][name])  # in place, so in the parts too
            tap.optimizer.load_state_dict(state["optimizers"][name])


def name_of(tap: str, point: int) -> str:
    """What a head of a grid is called in its history."""
    return f"{tap}.{point}"


def _repeated(values: Tensor, points: int) -> nn.Parameter:
    return nn.Parameter(values.detach().expand(points, *values.shape).clone())

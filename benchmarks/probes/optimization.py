"""How a protocol trains its heads: the optimizer, the learning rate and the evaluation by epoch."""

import math
from typing import Any

import torch

from benchmarks.probes.heads import Heads, parameter_groups
from benchmarks.probes.lars import Lars
from benchmarks.protocols import LinearProtocol
from slurm.errors import UserError


def new_optimizer(heads: Heads, protocol: LinearProtocol) -> torch.optim.Optimizer:
    """The protocol's optimizer of all parameters of the heads."""
    # One kernel for a step: 0.4 ms instead of 1.0 for five heads of 1,000 classes on an H100.
    fused = True if next(heads.parameters()).is_cuda else None
    return optimizer_of(parameter_groups(heads, protocol.weight_decay), protocol, fused=fused)


def optimizer_of(
    groups: list[dict[str, Any]], protocol: LinearProtocol, *, fused: bool | None = None
) -> torch.optim.Optimizer:
    """The protocol's optimizer of `groups`; `fused` asks for SGD's step in one pass over memory.

    The weights of a grid are gigabytes, which the plain step would read and write five times.
    """
    rate, momentum = protocol.learning_rate, protocol.momentum
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=rate, momentum=momentum, nesterov=protocol.nesterov, fused=fused
        )
    if protocol.lars_eta is None or protocol.lars_epsilon is None or protocol.nesterov:
        raise UserError(f"{protocol.name}: LARS needs lars_eta and lars_epsilon, and no nesterov")
    eta, epsilon = protocol.lars_eta, protocol.lars_epsilon
    return Lars(groups, lr=rate, momentum=momentum, eta=eta, epsilon=epsilon)


def learning_rate(protocol: LinearProtocol, epoch: int) -> float:
    """The rate of all steps of `epoch`, counted from 0; of a warm-up that in its middle."""
    if epoch < protocol.warmup:
        return protocol.learning_rate * (epoch + 0.5) / protocol.warmup
    if protocol.schedule == "cosine":
        done = (epoch - protocol.warmup) / (protocol.epochs - protocol.warmup)
        return protocol.learning_rate * (1 + math.cos(math.pi * done)) / 2
    drops = sum(epoch >= milestone for milestone in protocol.milestones)
    return protocol.learning_rate * protocol.gamma**drops


def evaluated_epochs(protocol: LinearProtocol) -> tuple[int, ...]:
    """The epochs, counted from 1, after which the heads are evaluated; the last one is always."""
    regular = range(protocol.evaluate_every, protocol.epochs, protocol.evaluate_every)
    return (*regular, protocol.epochs)

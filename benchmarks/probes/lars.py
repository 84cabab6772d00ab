"""LARS: SGD with momentum whose step is scaled, parameter by parameter, to the parameter's norm.

You, Gitman and Ginsburg, arXiv:1708.03888, as MMSelfSup's linear probes use it: the scaled step,
learning rate included, goes into the momentum buffer, and biases are scaled like weights.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lars(torch.optim.Optimizer):
    """local = eta |w| / (|g| + wd |w| + epsilon); step = momentum step + (g + wd w) local lr.

    A parameter whose norm, or whose gradient's norm, is 0 takes a local rate of 1. Norms are over
    the whole parameter and the mean gradient of all processes.
    """

    def __init__(
        self,
        parameters: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float,
        eta: float,
        epsilon: float,
    ) -> None:
        """`parameters` are groups, each with its weight_decay."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})
        self.eta = eta
        self.epsilon = epsilon

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; closures are not supported."""
        if closure is not None:
            raise ValueError("Lars takes no closure")
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._update(weights, weights.grad, group)

    def _update(self, weights: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        rate = self._local_rate(weights, gradient, decay) * group["lr"]
        step = gradient.add(weights, alpha=decay).mul_(rate)
        state = self.state[weights]
        if "momentum_buffer" in state:
            step = state["momentum_buffer"].mul_(group["momentum"]).add_(step)
        else:
            state["momentum_buffer"] = step
        weights.sub_(step)

    def _local_rate(self, weights: Tensor, gradient: Tensor, decay: float) -> Tensor:
        norm, slope = weights.norm(), gradient.norm()
        rate = self.eta * norm / (slope + decay * norm + self.epsilon)
        return torch.where((norm > 0) & (slope > 0), rate, torch.ones_like(rate))

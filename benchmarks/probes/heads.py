"""The heads of a probe: optional batch normalisation and one linear layer per tap."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.probes.attentive import AttentiveHead
from benchmarks.protocols import LinearProtocol
from slurm.errors import UserError


class FrozenInputNorm(nn.Module):
    """Batch normalisation without scale and shift, of inputs that need no gradient.

    The statistics are over the batch of all processes (nn.SyncBatchNorm exists for CUDA only);
    since the trunk is frozen, nothing flows back through them. Input and output are (N, C, L);
    momentum 0.1 and epsilon 1e-5 as in torch.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.epsilon = epsilon
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise each channel by the batch when training, else by the running statistics."""
        mean, variance = self.running_mean, self.running_var
        alone = inputs.shape[0] * inputs.shape[2] == 1  # which torch's own refuses
        if not self.training or not (alone or dist.is_initialized()):
            return F.batch_norm(
                inputs,
                mean,
                variance,
                training=self.training,
                momentum=self.momentum,
                eps=self.epsilon,
            )
        mean, variance, count = _batch_statistics(inputs)
        unbiased = variance * (count / max(count - 1, 1))
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)
        return (inputs - mean[:, None]) * (variance + self.epsilon).rsqrt()[:, None]


def _batch_statistics(inputs: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance per channel and the number of values, over all processes."""
    values = inputs.double()
    count = torch.tensor([inputs.shape[0] * inputs.shape[2]], device=inputs.device).double()
    sums = torch.cat([values.sum((0, 2)), count])
    if dist.is_initialized():
        dist.all_reduce(sums)
    mean = sums[:-1] / sums[-1]
    squares = (values - mean[:, None]).square().sum((0, 2))
    if dist.is_initialized():
        dist.all_reduce(squares)
    return mean.float(), (squares / sums[-1]).float(), int(sums[-1])


class Head(nn.Module):
    """One linear probe on a pooled tap: (N, channels * cells) -> (N, classes)."""

    def __init__(
        self,
        channels: int,
        cells: int,
        classes: int,
        protocol: LinearProtocol,
        draws: torch.Generator,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.norm = FrozenInputNorm(channels) if protocol.batch_norm != "none" else None
        affine = protocol.batch_norm == "affine"
        self.scale = nn.Parameter(torch.ones(channels)) if affine else None
        self.shift = nn.Parameter(torch.zeros(channels)) if affine else None
        self.linear = nn.Linear(channels * cells, classes)
        width = channels * cells
        with torch.no_grad():
            if protocol.init_std is None:  # torch's default: U(-1/sqrt(width), 1/sqrt(width))
                self.linear.weight.uniform_(-(width**-0.5), width**-0.5, generator=draws)
                self.linear.bias.uniform_(-(width**-0.5), width**-0.5, generator=draws)
            else:
                self.linear.weight.normal_(0.0, protocol.init_std, generator=draws)
                self.linear.bias.zero_()

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits of a batch."""
        if self.norm is not None:
            maps = self.norm(pooled.view(len(pooled), self.channels, -1))
            if self.scale is not None and self.shift is not None:
                maps = maps * self.scale[:, None] + self.shift[:, None]
            pooled = maps.flatten(1)
        logits: Tensor = self.linear(pooled)
        return logits


class Heads(nn.Module):
    """All heads that share one forward pass of the trunk."""

    def __init__(
        self,
        channels: dict[str, int],
        sample: dict[str, Tensor],
        classes: int,
        protocol: LinearProtocol,
        seed: int,
    ) -> None:
        """Widths are measured from `sample`, the pooled taps of any batch, not typed."""
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        heads: dict[str, nn.Module] = {}
        self.reads: dict[str, str] = {}  # of which features each head makes its logits
        for tap, pooled in sample.items():
            if protocol.taps == "positions":
                for queries in protocol.queries:
                    name = f"ep{queries}"
                    heads[name] = AttentiveHead(channels[tap], queries, classes, protocol, draws)
                    self.reads[name] = tap
            else:
                cells = pooled.shape[1] // channels[tap]
                heads[tap] = Head(channels[tap], cells, classes, protocol, draws)
                self.reads[tap] = tap
        if not heads:
            raise UserError(f"{protocol.name} has no queries: choose some with --set queries=1,32")
        self.heads = nn.ModuleDict(heads)

    def forward(self, pooled: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of every head."""
        return {name: head(pooled[self.reads[name]]) for name, head in self.heads.items()}


def parameter_groups(heads: Heads, weight_decay: float) -> list[dict[str, object]]:
    """All weights decay but the scale and shift of normalisation (VISSL, FAIR)."""
    named = [(name.rpartition(".")[2], one) for name, one in heads.named_parameters()]
    linear = [parameter for name, parameter in named if name not in ("scale", "shift")]
    norm = [parameter for name, parameter in named if name in ("scale", "shift")]
    groups: list[dict[str, object]] = [{"params": linear, "weight_decay": weight_decay}]
    if norm:
        groups.append({"params": norm, "weight_decay": 0.0})
    return groups

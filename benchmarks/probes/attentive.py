"""Attentive heads: learned queries attend to the positions of the last map, then a linear layer.

Efficient probing (Psomas et al., "Attention, Please!", ICLR 2026, arXiv:2506.10178). It is V-JEPA's
attentive probe (Bardes et al., arXiv:2404.08471), one learned query in multi-head cross-attention,
made lean: a head of that attention is a query of its own here, as to project the keys comes to
projecting the query, and neither a projection nor an MLP follows the attention.
"""

import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from benchmarks.protocols import LinearProtocol
from slurm.errors import UserError

EPSILON = 1e-6  # of the normalisation before the linear layer, as in the authors' code


class SyncedNorm(nn.Module):
    """Batch normalisation without scale and shift of (N, C), through which gradients flow.

    The statistics are over the batch of all processes, which hold equally many rows
    (nn.SyncBatchNorm exists for CUDA only); momentum 0.1 as in torch.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise each channel by the batch when training, else by the running statistics."""
        mean, variance = self.running_mean, self.running_var
        if self.training:
            count = len(inputs) * (dist.get_world_size() if dist.is_initialized() else 1)
            mean = _total(inputs.sum(0)) / count
            variance = _total((inputs - mean).square().sum(0)) / count
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        return (inputs - mean) * (variance + EPSILON).rsqrt()


def _total(values: Tensor) -> Tensor:
    """The sum over the processes; its gradient is the sum of theirs."""
    if not dist.is_initialized():
        return values
    total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total


class AttentiveHead(nn.Module):
    """Positions (N, C, L) of a map -> logits (N, classes).

    Query q gives every position the weight softmax(q . x / sqrt(C)); its mean of the positions goes
    through its own C / queries rows of the value projection. (The authors project every position
    and then take the mean, which is the same and costs L times as much.) The values of all queries,
    (N, C), are normalised and classified.
    """

    def __init__(
        self,
        channels: int,
        queries: int,
        classes: int,
        protocol: LinearProtocol,
        draws: torch.Generator,
    ) -> None:
        """`UserError` when the channels cannot be shared equally among the queries."""
        super().__init__()
        if channels % queries:
            raise UserError(
                f"{protocol.name}: {queries} queries cannot share the {channels} channels of the "
                "last map equally: choose a divisor with --set queries=N"
            )
        width = channels // queries
        self.query = nn.Parameter(torch.empty(queries, channels))
        self.value = nn.Parameter(torch.empty(queries, width, channels))
        self.norm = None if protocol.batch_norm == "none" else SyncedNorm(channels)
        self.linear = nn.Linear(channels, classes)
        bound = channels**-0.5  # torch's default for linear layers
        with torch.no_grad():
            self.query.normal_(0.0, 0.02, generator=draws)
            self.value.uniform_(-bound, bound, generator=draws)
            if protocol.init_std is None:
                self.linear.weight.uniform_(-bound, bound, generator=draws)
                self.linear.bias.uniform_(-bound, bound, generator=draws)
            else:
                self.linear.weight.normal_(0.0, protocol.init_std, generator=draws)
                self.linear.bias.zero_()

    def attention(self, positions: Tensor) -> Tensor:
        """The weight of each position for each query, (N, queries, L); they sum to 1."""
        scores = self.query @ positions  # (queries, C) @ (N, C, L)
        return F.softmax(scores / math.sqrt(positions.shape[1]), dim=2)

    def forward(self, positions: Tensor) -> Tensor:
        """Logits of a batch."""
        means = self.attention(positions) @ positions.transpose(1, 2)  # (N, queries, C)
        values = torch.einsum("nqc,qvc->nqv", means, self.value).flatten(1)
        logits: Tensor = self.linear(values if self.norm is None else self.norm(values))
        return logits

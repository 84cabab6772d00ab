"""What neighbours say: votes weighed by exp(cosine / temperature), for any k and temperature."""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.knn.neighbours import Neighbours
from benchmarks.metrics import true_ranks, wrong_rank

VOTES = 2**24  # of a block of queries, fp64


def vote_ranks(
    near: Neighbours,
    labels: Tensor,
    truth: Tensor,
    classes: int,
    ks: Sequence[int],
    temperature: float,
) -> dict[int, Tensor]:
    """By k, how many classes have more votes than the true one, int64 (Q,) on the CPU.

    `labels` (N,) are those of the bank, `truth` (Q,) those of the queries. Of classes with equal
    votes that of the lower index comes first; a class without any vote is no prediction at all: its
    rank is `wrong_rank`. Weights are relative to the nearest neighbour's, so that none
    overflows at a low temperature.
    """
    found: dict[int, list[Tensor]] = {k: [] for k in ks}
    size = max(1, VOTES // classes)
    for start in range(0, len(truth), size):
        cosines = near.cosines[start : start + size].double()
        voters = labels[near.rows[start : start + size]]
        own = truth[start : start + size].to(voters.device)
        weights = ((cosines - cosines[:, :1]) / temperature).exp()
        votes = torch.zeros((len(own), classes), dtype=torch.float64, device=voters.device)
        counted = 0
        for k in sorted(set(ks)):
            votes.scatter_add_(1, voters[:, counted:k], weights[:, counted:k])
            counted = k
            given = votes.gather(1, own[:, None])[:, 0] > 0
            found[k].append(torch.where(given, true_ranks(votes, own), wrong_rank(classes)).cpu())
    return {k: torch.cat(parts) for k, parts in found.items()}


def percent(ranks: Tensor, k: int) -> float:
    """How many of the ranks, in percent, are below `k`."""
    return 100.0 * float((ranks < k).double().mean())

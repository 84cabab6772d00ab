"""What the heads of a probe say of every validation image: ranks of the true class, predictions."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.metrics import true_ranks
from slurm import distributed

Percent = dict[str, tuple[float, float]]  # tap -> top-1, top-5


class Grades:
    """One evaluation of one probe; images come in the order of this process's share."""

    def __init__(self, taps: Iterable[str], device: torch.device) -> None:
        """`taps` are all heads that are graded, in a process without an image for them too."""
        none = torch.empty((2, 0), dtype=torch.int32, device=device)
        # (2, n): rank of the true class, prediction
        self._seen: dict[str, list[Tensor]] = {tap: [none] for tap in taps}

    def add(self, tap: str, logits: Tensor, labels: Tensor) -> None:
        """Take in the logits (n, classes) of one head for the next images."""
        both = torch.stack([true_ranks(logits, labels), logits.argmax(1)])
        self._seen[tap].append(both.to(torch.int32))

    def percent(self, images: int) -> Percent:
        """Top-1 and top-5 of every head over the images of all processes."""
        ranks = {tap: torch.cat(parts, 1)[0] for tap, parts in self._seen.items()}
        counts = [torch.stack([(one < k).sum() for k in (1, 5)]) for one in ranks.values()]
        percent = 100.0 * distributed.total(torch.stack(counts)).double().cpu() / images
        return {tap: (row[0].item(), row[1].item()) for tap, row in zip(ranks, percent)}

    def outcomes(self, images: int, rank: int, processes: int) -> dict[str, Tensor]:
        """By head, int32 (2, images) in the order of the list: ranks and predicted classes.

        All processes call it; each has graded every `processes`-th image from `rank` on.
        """
        mine = torch.stack([torch.cat(parts, 1) for parts in self._seen.values()])
        every = torch.zeros((*mine.shape[:2], images), dtype=torch.int32, device=mine.device)
        every[..., rank::processes] = mine
        return dict(zip(self._seen, distributed.total(every).cpu()))


def stored(outcomes: dict[str, Tensor]) -> dict[str, NDArray[Any]]:
    """`Grades.outcomes` as their file holds them: `TAP.rank` and `TAP.predicted`, each (images,).

    Ranks are int16, or int32 where one does not fit.
    """
    found: dict[str, NDArray[Any]] = {}
    for tap, (ranks, predicted) in outcomes.items():
        fits = int(ranks.max()) <= np.iinfo(np.int16).max
        found[f"{tap}.rank"] = ranks.numpy().astype(np.int16 if fits else np.int32)
        found[f"{tap}.predicted"] = predicted.numpy()
    return found

"""Batches that are larger than what passes the trunk at once.

The trunk is frozen, so a batch may pass it a piece at a time: 4,096 images at once would take
tens of gigabytes. The heads are trained on the whole batch's features.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

MOST_IMAGES = 256  # of a piece
Features = dict[str, Tensor]  # {tap: (N, D)}
Batch = tuple[Features, Tensor]  # with labels (N,)


def number_of_pieces(images: int) -> int:
    """In how many equal pieces a batch of so many images passes the trunk."""
    least = math.ceil(images / MOST_IMAGES)
    return next(number for number in range(least, images + 1) if images % number == 0)


def joined(
    pieces: Iterable[tuple[Tensor, Tensor]],
    number: int,
    features: Callable[[Tensor], Features],
    labels: Tensor,
) -> Iterator[Batch]:
    """The batches of features, each of `number` pieces (the last one may have fewer).

    A piece is images (N, 3, H, W) and their indices (N,) into `labels`.
    """
    parts: list[Batch] = []
    for pixels, indices in pieces:
        parts.append((features(pixels), labels[indices]))
        if len(parts) == number:
            yield _concatenated(parts)
            parts = []
    if parts:
        yield _concatenated(parts)


def _concatenated(parts: Sequence[Batch]) -> Batch:
    taps = parts[0][0]
    features = {tap: torch.cat([part[tap] for part, _ in parts]) for tap in taps}
    return features, torch.cat([labels for _, labels in parts])

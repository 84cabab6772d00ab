"""One stream of decoded images, cut for each reader into the pieces that it computes with.

The trunk is frozen, so a batch may pass it a piece at a time: 4,096 images at once would take
tens of gigabytes. The heads are trained on the whole batch's features. The size of a piece can
change the last bits of its features, so a reader has its own size, whoever reads beside it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.images.colour import Draws

MOST_IMAGES = 256  # of a piece


class Piece(NamedTuple):
    """Some images that follow one another in the stream, on the device of the trunk."""

    first: int  # place of the first one in its process's share of the epoch
    pixels: Tensor  # (N, H, W, 3) uint8
    draws: Draws
    labels: Tensor  # (N,) int64

    def part(self, first: int, last: int) -> "Piece":
        """The images from `first` to before `last`, counted within the piece."""
        return Piece(
            self.first + first,
            self.pixels[first:last],
            self.draws.rows(first, last),
            self.labels[first:last],
        )


class Cutter:
    """Takes what comes from the stream and gives it back in pieces of one size."""

    def __init__(self, size: int, start: int) -> None:
        """What comes before `start`, a multiple of `size`, is passed over."""
        self.size, self.start = size, start
        self._parts: list[Piece] = []
        self._count = 0

    def add(self, piece: Piece) -> Iterator[Piece]:
        """The pieces that are whole now."""
        place, end = max(0, self.start - piece.first), len(piece.labels)
        while place < end:
            taken = min(self.size - self._count, end - place)
            self._parts.append(piece.part(place, place + taken))
            self._count += taken
            place += taken
            if self._count == self.size:
                yield self._joined()

    def rest(self) -> Iterator[Piece]:
        """What is left at the end, if anything."""
        if self._parts:
            yield self._joined()

    def _joined(self) -> Piece:
        parts, self._parts, self._count = self._parts, [], 0
        return parts[0] if len(parts) == 1 else _concatenated(parts)


def number_of_pieces(images: int) -> int:
    """In how many equal pieces a batch of so many images passes the trunk."""
    least = math.ceil(images / MOST_IMAGES)
    return next(number for number in range(least, images + 1) if images % number == 0)


def _concatenated(parts: Sequence[Piece]) -> Piece:
    columns = zip(*(part.draws for part in parts))
    return Piece(
        parts[0].first,
        torch.cat([part.pixels for part in parts]),
        Draws(*(torch.cat(column) for column in columns)),
        torch.cat([part.labels for part in parts]),
    )

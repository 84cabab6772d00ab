"""Memory by which a worker hands batches to the main process: a few places, used in turn.

New memory for each batch would have to be given to the worker page by page, which takes time.
"""

from typing import NamedTuple

import torch
from torch import Tensor

PREFETCH = 2  # batches that a worker may have ready, or at work, beyond the one that is read
SLOTS = PREFETCH + 2  # one is read, the next are ready, and one is written
_STAMP = 8  # bytes after the pixels: the turn in which they were written


class Place(NamedTuple):
    """Where a batch is written and read."""

    pixels: Tensor  # (size,) uint8
    stamp: Tensor  # (1,) int64, which holds `turn` as long as the pixels are this turn's
    turn: int

    def is_kept(self) -> bool:
        """Whether nothing was written over the pixels; asked after they were copied."""
        return int(self.stamp.item()) == self.turn


class Slots:
    """The places of one worker."""

    def __init__(self) -> None:
        self._memory: list[Tensor] = []
        self._turn = 0

    def next_place(self, size: int) -> Place:
        """Room for `size` bytes, where the batch of `SLOTS` turns ago was."""
        # Whole numbers of 8 bytes, since the stamp is one.
        room = -(-size // _STAMP) * _STAMP
        slot = self._turn % SLOTS
        if slot == len(self._memory):
            self._memory.append(_shared(room + _STAMP))
        elif self._memory[slot].numel() < room + _STAMP:
            self._memory[slot] = _shared(room + _STAMP)
        memory = self._memory[slot]
        place = Place(memory[:size], memory[-_STAMP:].view(torch.int64), self._turn)
        place.stamp.fill_(self._turn)
        self._turn += 1
        return place


def _shared(size: int) -> Tensor:
    """(size,) uint8 that another process sees when it is handed over, without a copy."""
    storage = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage)

"""Votes of the processes of one task that cost no step any time.

To vote is to wait for all, and on a GPU for all that it was given to do. So processes vote every
few seconds, at a step that all of them know.
"""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import device

SECONDS = 2.0  # from one vote to the next


class Votes:
    """Asked after each step, says in all processes at once what one of them wished a little before.

    At each vote every process says how many steps it takes in `SECONDS`; the next vote is after
    the least of these numbers, in all processes. Wishes are numbers, of which the largest is heard;
    0 is none.
    """

    def __init__(self, device: "device") -> None:
        self.device = device
        self.held = False  # whether all were asked the last time that this process was
        self._left = 1  # steps until the next vote
        self._steps, self._since = 0, time.monotonic()

    def agree(self, wish: int, *, now: bool = False) -> int:
        """What any process wished, as of this vote; 0 between votes, `wish` without a group.

        All processes must ask alike, and go on wishing until they are heard. `now` is a vote at
        once, for places that all of them come to seldom.
        """
        import torch
        import torch.distributed as dist

        self.held = True
        if not dist.is_initialized():
            return wish
        self._steps += 1
        self._left -= 1
        if self._left > 0 and not now:
            self.held = False
            return 0
        seconds = (time.monotonic() - self._since) / self._steps
        steps = max(1, min(1000, int(SECONDS / max(seconds, 1e-6))))
        votes = torch.tensor([int(wish), -steps], device=self.device)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        wished, negative = votes.tolist()
        self._left, self._steps, self._since = -negative, 0, time.monotonic()
        return int(wished)

"""What is asked of the processes that load images, batch by batch."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Request(NamedTuple):
    """A batch that is wanted."""

    source: int  # which of the loader's
    epoch: int
    rows: Rows  # (N,) which images
    keys: Rows  # (N,) by what each one's draws are keyed: its row, or its place in a sample


def requests_of(
    source: int, epoch: int, rows: Rows, batch_size: int, keys: Rows | None = None
) -> list[Request]:
    """`rows` in batches."""
    keys = rows if keys is None else keys
    starts = range(0, len(rows), batch_size)
    return [
        Request(source, epoch, rows[first : first + batch_size], keys[first : first + batch_size])
        for first in starts
    ]

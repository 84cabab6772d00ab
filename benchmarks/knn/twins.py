"""Images of val with a twin in train: a copy, or one that the features cannot tell from it.

Such an image is answered before it is asked, which no figure shows.
"""

from typing import TYPE_CHECKING, Any

import torch

from benchmarks.knn.neighbours import QUERY_ROWS, Neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

APART = 1e-3  # of the length of the features: what rounding cannot make of equal images
WORTH_A_WORD = 0.01  # of val; ImageNet itself has some copies


def count_twins(bank: "NDArray[Any]", queries: "NDArray[Any]", near: Neighbours) -> int:
    """How many of `queries` (Q, D) have the features of their nearest row of `bank` (N, D)."""
    nearest = near.rows[:, 0].cpu()
    found = torch.nonzero(near.cosines[:, 0].cpu() > 1 - APART)[:, 0]
    count = 0
    for first in range(0, len(found), QUERY_ROWS):
        part = found[first : first + QUERY_ROWS]
        own = torch.from_numpy(queries[part.numpy()].astype("float32"))
        theirs = torch.from_numpy(bank[nearest[part].numpy()].astype("float32"))
        count += int(((own - theirs).norm(dim=1) <= APART * own.norm(dim=1)).sum())
    return count


def twins_note(count: int, images: int) -> list[str]:
    """A note where so many of the val images have twins that figures are of no use."""
    if count < WORTH_A_WORD * images:
        return []
    return [
        f"{count:,} of {images:,} val images have the features of a training image: they are "
        "copies, or these features cannot tell images apart"
    ]

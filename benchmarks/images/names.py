"""File names by the million, for the workers that read the files."""

import os
from collections.abc import Sequence

import torch


class Names:
    """Many file names in two tensors, which processes share.

    Of a list of texts each worker would have its own copy in the end: to look at a text is to write
    its reference count.
    """

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self.bounds = torch.zeros(len(encoded) + 1, dtype=torch.int64)
        self.bounds[1:] = torch.tensor([len(name) for name in encoded]).cumsum(0)
        self.content = torch.frombuffer(bytearray(b"".join(encoded) or b"\0"), dtype=torch.uint8)

    def __getitem__(self, row: int) -> str:
        first, last = self.bounds[row : row + 2].tolist()
        return os.fsdecode(self.content[first:last].numpy().tobytes())

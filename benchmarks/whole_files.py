"""Tensors and arrays as files that are whole or not there.

They are put together in memory: torch and numpy, when they write by themselves, lose the reason
why a write failed, so that a full disk looks like a fault of the program.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slurm.files import write_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Atomically write what `torch.load(path, weights_only=True)` reads again."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def write_array(path: Path, array: "NDArray[Any]") -> None:
    """Atomically write a small array as .npy."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())

"""Images that are one file under two names, by links: trained on and tested, or of two classes.

Copies of a file are not seen.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.datasets.reading.lists import LabelledList
from slurm.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEW = 20_000  # images of both splits, up to which files of a list are looked up one by one
_NOWHERE = (0, 0)
_MOST = 100  # inodes that are looked at closely; those of two devices can be alike by chance


def refuse_same_files(
    train: LabelledList, train_root: Path, val: LabelledList, val_root: Path
) -> None:
    """`UserError` naming two images that are the same file."""
    import numpy as np

    few = len(train.paths) + len(val.paths) <= FEW
    every = (_inodes(train, train_root, few), _inodes(val, val_root, few))
    inodes = np.concatenate(every)
    found, counts = np.unique(inodes, return_counts=True)
    for inode in found[(counts > 1) & (found > 0)][:_MOST].tolist():
        seen: dict[tuple[int, int], tuple[LabelledList, Path, int]] = {}
        for row in np.flatnonzero(inodes == inode).tolist():
            tested = row >= len(train.paths)
            listed, root = (val, val_root) if tested else (train, train_root)
            row -= len(train.paths) * tested
            path = root / listed.paths[row]
            identity = _identity(path)
            other, first, first_row = seen.setdefault(identity, (listed, path, row))
            if first != path and identity != _NOWHERE:
                alike = other.labels[first_row] == listed.labels[row]
                why = "its image would count twice: keep one" if alike else "keep the right class"
                why = "no image may be trained on and tested" if other is not listed else why
                raise UserError(f"{path} and {first} are the same file, by a link: {why}")


def _inodes(listed: LabelledList, root: Path, few: bool) -> "NDArray[np.uint64]":
    """(N,); 0 where it is not known."""
    import numpy as np

    inodes: Sequence[int] = listed.inodes
    if not inodes and few:
        inodes = [_identity(root / path)[1] for path in listed.paths]
    return np.array(inodes if inodes else np.zeros(len(listed.paths)), np.uint64)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:  # it is named where it is read
        return _NOWHERE
    return found.st_dev, found.st_ino

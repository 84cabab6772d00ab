"""Images that are one file under two names, by links: trained on and tested, or of two classes.

Copies of a file are not seen here (see knn.twins).
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
MANY = 0.01  # of val: more than a large data set has copies
_NOWHERE = (0, 0)
_MOST = 100  # inodes that are looked at closely; those of two devices can be alike by chance


def same_files(
    train: LabelledList, train_root: Path, val: LabelledList, val_root: Path
) -> list[str]:
    """A note for images that are the same file as another; `UserError` where that is `MANY`.

    Stores that keep equal files once link the few copies that large data sets have.
    """
    import numpy as np

    few = len(train.paths) + len(val.paths) <= FEW
    every = (_inodes(train, train_root, few), _inodes(val, val_root, few))
    inodes = np.concatenate(every)
    found, counts = np.unique(inodes, return_counts=True)
    shared = found[(counts > 1) & (found > 0)]
    linked = int(np.isin(inodes, shared).sum())
    pair = _first_pair(inodes, shared, [(train, train_root), (val, val_root)]) if linked else None
    if pair is None:
        return []
    first, second, why = pair
    if linked > MANY * len(val.paths):
        raise UserError(f"{first} and {second} are the same file, by a link: {why}")
    return [f"{linked} images are the same file as another, by links, such as {second}"]


def _first_pair(
    inodes: "NDArray[np.uint64]",
    shared: "NDArray[np.uint64]",
    lists: list[tuple[LabelledList, Path]],
) -> tuple[Path, Path, str] | None:
    """Two images that are one file, and what is wrong with that; those across splits first."""
    import numpy as np

    trained = len(lists[0][0].paths)
    across = np.intersect1d(np.intersect1d(inodes[:trained], shared), inodes[trained:])
    for inode in np.concatenate([across[:_MOST], shared[:_MOST]]).tolist():
        seen: dict[tuple[int, int], tuple[LabelledList, Path, int]] = {}
        for row in np.flatnonzero(inodes == inode).tolist():
            listed, root = lists[row >= trained]
            row -= trained * (row >= trained)
            path = root / listed.paths[row]
            identity = _identity(path)
            other, first, first_row = seen.setdefault(identity, (listed, path, row))
            if first != path and identity != _NOWHERE:
                alike = other.labels[first_row] == listed.labels[row]
                why = "its image would count twice: keep one" if alike else "keep the right class"
                why = "no image may be trained on and tested" if other is not listed else why
                return path, first, why
    return None


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

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
MANY = 0.01  # of val that is trained on, or of all: more than a large data set has copies
_BOTH = "no image may be trained on and tested"
_TWO_CLASSES = "keep the right class"
_TWICE = "its image would count twice: keep one"
_NOWHERE = (0, 0)
_MOST = 100_000  # images that are looked up, since numbers of two devices can be alike by chance


def same_files(
    train: LabelledList, train_root: Path, val: LabelledList, val_root: Path
) -> list[str]:
    """A note for images that are the same file as another; `UserError` where these are `MANY`.

    Stores that keep equal files once link the few copies that large data sets have.
    """
    import numpy as np

    lists = ((train, train_root), (val, val_root))
    few = len(train.paths) + len(val.paths) <= FEW
    inodes = np.concatenate([_inodes(listed, root, few) for listed, root in lists])
    found, counts = np.unique(inodes, return_counts=True)
    shared = np.isin(inodes, found[(counts > 1) & (found > 0)])
    again: dict[str, list[tuple[Path, Path]]] = {}  # the later image of each pair, by what is wrong
    seen: dict[tuple[int, int], tuple[int, int, Path]] = {}
    for row in np.flatnonzero(shared)[:_MOST].tolist():
        which = int(row >= len(train.paths))
        listed, root = lists[which]
        place = row - which * len(train.paths)
        path = root / listed.paths[place]
        identity = _identity(path)
        other, label, first = seen.setdefault(identity, (which, listed.labels[place], path))
        if first != path and identity != _NOWHERE:
            alike = label == listed.labels[place]
            why = _TWICE if alike else _TWO_CLASSES
            again.setdefault(_BOTH if other != which else why, []).append((path, first))
    linked = sum(map(len, again.values()))
    if not linked:
        return []
    why = next(one for one in (_BOTH, _TWO_CLASSES, _TWICE) if one in again)
    path, first = again[why][0]
    tested = len(again.get(_BOTH, ()))
    if tested > MANY * len(val.paths) or linked - tested > MANY * len(inodes):
        raise UserError(f"{path} and {first} are the same file, by a link: {why}")
    return [f"images that are the same file as another, by links: {linked}, such as {path}"]


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

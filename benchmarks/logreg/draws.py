"""Which labels a fit may see: the nine tenths, and the few of each class, by a stated seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.input_files import is_there, read_file
from slurm.errors import UserError

if TYPE_CHECKING:
    from benchmarks.datasets.splits import ImageSplit

Rows = NDArray[np.int64]
_HELD_OUT, _FEW = 1, 2  # keep the generators apart

# Where MMSelfSup's and SimCLR's lists of labelled images lie below a dataset's folder.
LISTS = {
    0.01: ("meta/train_1percent.txt", "meta/1percent.txt"),
    0.1: ("meta/train_10percent.txt", "meta/10percent.txt"),
}


def split_off(images: int, share: float, seed: int) -> tuple[Rows, Rows]:
    """The rows that are fitted and those that are held out, both ascending."""
    order = np.random.default_rng([seed, _HELD_OUT]).permutation(images)
    out = int(images * share)
    return np.sort(order[out:]), np.sort(order[:out])


def labels_per_class(labels: Rows, fitted: Rows, fraction: float) -> list[int]:
    """How many labels of each class a fraction is: of all its images, at least one."""
    counts = np.bincount(labels)
    available = np.bincount(labels[fitted], minlength=len(counts))
    wanted = np.maximum(1, np.round(fraction * counts)).astype(int) * (counts > 0)
    few: list[int] = np.where(available > 0, np.minimum(wanted, available), wanted).tolist()
    return few


def draw(
    labels: Rows, fitted: Rows, wanted: Sequence[int], seed: int, number: int, names: Sequence[str]
) -> Rows:
    """`wanted` rows of each class from `fitted`, ascending; those of fewer are among those of more.

    `UserError` for a class that has not so many: it would be missing, or have less than its share.
    """
    found = []
    for label, count in enumerate(wanted):
        if not count:
            continue
        mine = fitted[labels[fitted] == label]
        if len(mine) < count:
            raise UserError(
                f"class {names[label]} has {len(mine)} training images outside the held-out part, "
                f"a few-label draw needs {count}: {_way(labels[fitted], wanted)}"
            )
        generator = np.random.default_rng([seed, _FEW, number, label])
        found.append(generator.permutation(mine)[:count])
    return np.sort(np.concatenate(found))


def _way(fitted: Rows, wanted: Sequence[int]) -> str:
    """What helps where a class has too few labels among those that are fitted."""
    counts = np.bincount(fitted, minlength=len(wanted))
    most = min(int(counts[label]) for label, count in enumerate(wanted) if count)
    if most:
        return (
            f"choose smaller --shots, at most {most} on these images (in a suite --set "
            f"per_class={most})"
        )
    return (
        "another --seed holds out others, more images of each class help, and --shots none "
        "--fraction none leaves few labels out (in a suite --set per_class=none --set "
        "fractions=none)"
    )


def list_of(folder: Path, fraction: float) -> Path | None:
    """The public list of a fraction, where the dataset has one."""
    paths = (folder / name for name in LISTS.get(fraction, ()))
    return next((path for path in paths if is_there(path)), None)


def listed_rows(path: Path, images: "ImageSplit") -> Rows:
    """The rows of the images in a public list: a name, or a path and more, in each line.

    `UserError` for a name that is no training image, that of several, or stands twice, and for a
    class without any.
    """
    by_path = {name: row for row, name in enumerate(images.paths)}
    by_name: dict[str, list[int]] = {}
    for row, name in enumerate(images.paths):
        by_name.setdefault(name.rpartition("/")[2], []).append(row)
    rows: dict[int, None] = {}
    for number, line in enumerate(read_file(path).decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        name = line.split()[0]
        found = _rows_named(name, by_path, by_name)
        if len(found) != 1 or found[0] in rows:
            what = "is no training image" if not found else "stands there twice"
            if len(found) > 1:
                what = f"is the name of {len(found)} training images: write CLASS/NAME"
            raise UserError(f"{path}, line {number}: {name[:200]} {what}; mend the list or move it")
        rows[found[0]] = None
    listed = np.sort(np.array(list(rows), dtype=np.int64))
    lacking = np.setdiff1d(images.labels, images.labels[listed])
    if len(lacking):
        name = images.classes[int(lacking[0])]
        raise UserError(
            f"{path} lists no image of {len(lacking)} classes, of which {name} is one: a few-label "
            "draw needs each class; mend the list or move it"
        )
    return listed


def _rows_named(name: str, by_path: dict[str, int], by_name: dict[str, list[int]]) -> list[int]:
    """The rows that a list can mean: of a path, below any folder; else of the file's name alone."""
    parts = name.split("/")
    paths = ("/".join(parts[first:]) for first in range(len(parts)))
    row = next((by_path[path] for path in paths if path in by_path), None)
    return by_name.get(parts[-1], []) if row is None else [row]

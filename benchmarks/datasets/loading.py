"""A dataset by name and folder, read once a process; light until then."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Split
from slurm.errors import UserError

if TYPE_CHECKING:
    from benchmarks.datasets.splits import Dataset


DIGITS_MARKER = ".digits"  # in each folder that `datasets.digits` writes, and never elsewhere


def holds_digits(folder: Path) -> bool:
    """Whether a dataset's folder holds the embedded digits, which are 32 pixels wide."""
    return (folder / DIGITS_MARKER).is_file()


def entry_name(dataset: str) -> str:
    """The key in the catalog of a protocol's dataset: `own` for `own:NAME`."""
    return dataset.partition(":")[0]


@lru_cache(maxsize=16)
def load_dataset(name: str, folder: Path) -> "Dataset":
    """Read a dataset's lists once per process."""
    from benchmarks.datasets.catalog import DATASETS

    entry = DATASETS[entry_name(name)]
    try:
        return entry.load(folder)
    except UserError:
        if any((folder / name).is_dir() for name in ("train", "JPEGImages", "data_large")):
            raise  # it does hold something like it
        parts = Path(entry.folder).parts
        for below in (folder.joinpath(*parts[start:]) for start in range(len(parts))):
            if below.is_dir():  # `folder` is that of all datasets
                raise UserError(
                    f"{folder} does not hold {entry.title} itself: name {below}, which is there, "
                    "with --data"
                ) from None
        raise


@lru_cache(maxsize=16)
def fingerprints(name: str, folder: Path) -> dict[str, Split]:
    """The fingerprint of each split of a dataset, computed once per process."""
    splits = load_dataset(name, folder).splits
    return {split: images.fingerprint() for split, images in splits.items()}


def require_split(name: str, folder: Path, split: str) -> None:
    """`UserError` when own data have not the layout that a benchmark measures on."""
    if split not in load_dataset(name, folder).splits:
        there, who = ("VOC2007's lists", "the SVMs")
        if split != "train":
            there, who = ("train/ and val/", "linear probes")
        raise UserError(f"{folder} has {there}, on which {who} measure: take their command")


@lru_cache(maxsize=16)
def require_classes(name: str, folder: Path) -> None:
    """`UserError` unless `train` has two classes; a note when `val` lacks some of them."""
    import numpy as np

    from slurm.progress import say

    splits = load_dataset(name, folder).splits
    train, val = (np.unique(splits[split].labels) for split in ("train", "val"))
    if len(train) < 2:
        raise UserError(
            f"the training images of {name} in {folder} are all of one class: a probe has nothing "
            "to tell apart; check the list or the class folders"
        )
    lacking = len(np.setdiff1d(train, val))
    if lacking:
        say(
            f"note: the validation images of {name} in {folder} have none of {lacking} of the "
            f"{len(train)} classes that are trained on"
        )

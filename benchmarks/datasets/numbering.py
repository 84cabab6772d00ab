"""Whether both splits number the classes alike, as far as names of folders and files can show."""

from collections.abc import Sequence

import numpy as np

from benchmarks.datasets.lists import LabelledList, place
from slurm.errors import UserError

# The first images of ILSVRC 2012's validation set and their classes. Its own ground truth numbers
# the classes in another order than that of their names, which all lists for training have.
_ILSVRC_VAL = {
    "ILSVRC2012_val_00000001": "n01751748",
    "ILSVRC2012_val_00000002": "n09193705",
    "ILSVRC2012_val_00000003": "n02105855",
    "ILSVRC2012_val_00000004": "n04263257",
    "ILSVRC2012_val_00000005": "n03125729",
}


def folders_by_label(listed: LabelledList) -> tuple[str, ...]:
    """The folder of the first image of each label there is; empty unless each has its own."""
    _, first = np.unique(listed.labels, return_index=True)
    folders = tuple(listed.paths[row].rpartition("/")[0] for row in first)
    return () if "" in folders or len(set(folders)) < len(folders) else folders


def check_numbering(train: LabelledList, val: LabelledList) -> None:
    """`UserError` when a class of `val` has the number of another one in `train`.

    Training labels are 0..C-1, those of validation within them. Nothing can be seen of lists whose
    folders are no classes.
    """
    if val.classes:  # the folders themselves were read, by the names of `train`
        return
    names = _tails(train.classes or folders_by_label(train))
    _check_official(train, names, val)
    folders = _tails(folders_by_label(val))
    numbers = {name: label for label, name in enumerate(names)}
    labels = np.unique(val.labels).tolist()
    if not names or 2 * sum(name in numbers for name in folders) <= len(folders):
        return
    for label, name in zip(labels, folders):
        if names[label] != name and _are_classes(train) and _are_classes(val):
            known = numbers.get(name)
            other = f"none, since there {label} is {names[label][:80]}" if known is None else known
            row = int(np.argmax(val.labels == label))
            raise UserError(
                f"{place(val, row)} gives the images of {name[:80]} the label {label}, "
                f"{train.source} gives them {other}: number the classes alike in both lists"
            )


def _tails(folders: Sequence[str]) -> tuple[str, ...]:
    """The names without what all begin with, such as `train/`."""
    parts = [name.split("/") for name in folders]
    while parts and min(map(len, parts)) > 1 and len({one[0] for one in parts}) == 1:
        parts = [one[1:] for one in parts]
    return tuple("/".join(one) for one in parts)


def _are_classes(listed: LabelledList) -> bool:
    """Whether the folders are the classes: each holds images of one label, each label has one."""
    folders = [path.rpartition("/")[0] for path in listed.paths]
    count = len(set(zip(folders, listed.labels.tolist())))
    return bool(listed.classes) or count == len(set(folders)) == len(np.unique(listed.labels))


def _check_official(train: LabelledList, names: Sequence[str], val: LabelledList) -> None:
    if not set(_ILSVRC_VAL.values()) <= set(names):
        return
    for row, path in enumerate(val.paths):
        synset = _ILSVRC_VAL.get(path.rpartition("/")[2].partition(".")[0])
        if synset is not None and names[int(val.labels[row])] != synset:
            raise UserError(
                f"{place(val, row)} gives {path[:200]} the label {val.labels[row]}, but it is of "
                f"{synset}, the label {list(names).index(synset)} of {train.source}: the numbers "
                "of ILSVRC's devkit have another order; take the list of Caffe or MMSelfSup"
            )

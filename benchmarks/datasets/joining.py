"""Two lists of labelled images made one dataset: what must be true of both."""

import os
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.datasets.reading.folders import is_foreign, say_note
from benchmarks.datasets.reading.lists import LabelledList, place
from benchmarks.datasets.reading.same_files import same_files
from benchmarks.datasets.splits import Dataset, ImageSplit
from slurm.errors import UserError

# Some sign of every foreign name; a list in which there is none need not be looked at more closely.
_SIGNS = ("._", "@", "__", "#", "~", "$", ".ipynb", "lost+", "LOST+", "volume", "Volume", " ")
# The first images of ILSVRC 2012's validation set and their classes. Its own ground truth numbers
# the classes in another order than that of their names, which all lists for training have.
_ILSVRC_VAL = {
    "ILSVRC2012_val_00000001": "n01751748",
    "ILSVRC2012_val_00000002": "n09193705",
    "ILSVRC2012_val_00000003": "n02105855",
    "ILSVRC2012_val_00000004": "n04263257",
    "ILSVRC2012_val_00000005": "n03125729",
}


def make_dataset(
    name: str, train: LabelledList, train_root: Path, val: LabelledList, val_root: Path
) -> Dataset:
    """Join two splits; `UserError` unless the labels are sound.

    The training labels must be 0..C-1 without gaps, those of validation within them and, as far as
    can be seen, of the same classes; an image has one entry, in one split.
    """
    import numpy as np

    trained, tested = _checked_paths(train), _checked_paths(val)
    _check_disjoint(train, trained, train_root, val, tested, val_root)
    classes = class_names(train)
    _check_labels(train, len(classes))
    if int(val.labels.max()) >= len(classes):
        raise _out_of_range(val, train, len(classes))
    _check_numbering(train, val)
    notes = [*train.notes, *val.notes]
    for note in same_files(train, train_root, val, val_root):
        notes.append(note)
        say_note(note)
    tested_classes = len(np.unique(val.labels))
    if tested_classes < len(classes):
        notes.append(f"val has images of {tested_classes} of the {len(classes)} classes of train")
    if len(val.paths) > len(train.paths):
        notes.append(f"val has more images than train, {len(val.paths):,} and {len(train.paths):,}")
        say_note(f"{notes[-1]} ({val.source}, {train.source}); should they be the other way round?")
    return Dataset(
        name,
        {
            "train": ImageSplit(train_root, train.paths, train.labels, classes),
            "val": ImageSplit(val_root, val.paths, val.labels, classes),
        },
        tuple(notes),
    )


def class_names(train: LabelledList) -> tuple[str, ...]:
    """Name each class as the source does, else by the folder of its first image, else by number."""
    if train.classes:
        return train.classes
    import numpy as np

    numbers = tuple(str(label) for label in range(len(np.unique(train.labels))))
    return _folders_by_label(train) or numbers


def _checked_paths(listed: LabelledList) -> Sequence[str]:
    """The paths, each spelled in one way; `UserError` for two labels, and for what is no image."""
    if listed.classes:  # by folders, each read once
        return listed.paths
    text = "\n".join(listed.paths)
    if any(sign in text for sign in _SIGNS):
        for path in listed.paths:
            if any(map(is_foreign, path.split("/"))):
                raise UserError(
                    f"{listed.source} names {path[:300]}, which a file server or a desktop left "
                    "there, and no image: write the list again without such files"
                )
    paths: Sequence[str] = listed.paths
    if "./" in text or "//" in text:
        paths = [posixpath.normpath(path) for path in paths]
    if len(set(paths)) < len(paths):
        raise _repeated(listed, paths)
    return paths


def _repeated(listed: LabelledList, paths: Sequence[str]) -> UserError:
    """Why an image that has two entries is refused: it would count twice, or be of two classes."""
    rows: dict[str, int] = {}
    for row, path in enumerate(paths):
        first = rows.setdefault(path, row)
        if first != row:
            break
    labels = listed.labels[[first, row]].tolist()
    if labels[0] != labels[1]:
        return UserError(
            f"{listed.source} gives the image {path[:300]} two labels, {labels[0]} and {labels[1]} "
            f"({place(listed, row)}): keep the right one"
        )
    return UserError(
        f"{place(listed, row)} repeats the image {path[:300]}, which would count twice: keep one "
        "line for each image"
    )


def _check_disjoint(
    train: LabelledList,
    trained: Sequence[str],
    train_root: Path,
    val: LabelledList,
    tested: Sequence[str],
    val_root: Path,
) -> None:
    """Refuse an image that is trained on and tested, whether or not the roots are the same."""
    roots = [str(root.resolve()) for root in (train_root, val_root)]
    if os.path.commonpath(roots) not in roots:  # of two folders, they are two images
        return
    seen = set(_below(roots[1], roots, tested))
    if not seen.isdisjoint(_below(roots[0], roots, trained)):
        image = min(seen.intersection(_below(roots[0], roots, trained)))
        raise UserError(
            f"{val.source} names {image[:300]}, which {train.source} names too: no image may be "
            "trained on and tested"
        )


def _below(root: str, roots: Sequence[str], paths: Sequence[str]) -> Iterable[str]:
    """The paths relative to the folder that holds both roots, made one by one."""
    prefix = os.path.relpath(root, os.path.commonpath(roots))
    return paths if prefix == "." else (f"{prefix}/{path}" for path in paths)


def _check_labels(train: LabelledList, count: int) -> None:
    import numpy as np

    present = np.unique(train.labels)
    gaps = present != np.arange(count)
    if gaps.any():
        raise UserError(
            f"{train.source}: no image has label {gaps.argmax()}, but labels go up to "
            f"{present[-1]}; number the classes 0, 1, 2, ... without gaps"
        )


def _out_of_range(val: LabelledList, train: LabelledList, count: int) -> UserError:
    import numpy as np

    row = int(np.argmax(val.labels >= count))
    hint = "; are they numbered from 1 here?" if val.labels.min() > 0 else ""
    return UserError(
        f"{place(val, row)}: the label {val.labels[row]} of {val.paths[row]} is out of range; "
        f"the {count} classes of {train.source} are numbered 0 to {count - 1}{hint}"
    )


def _folders_by_label(listed: LabelledList) -> tuple[str, ...]:
    """The folder of the first image of each label there is; empty unless each has its own."""
    import numpy as np

    _, first = np.unique(listed.labels, return_index=True)
    folders = tuple(listed.paths[row].rpartition("/")[0] for row in first)
    return () if "" in folders or len(set(folders)) < len(folders) else folders


def _check_numbering(train: LabelledList, val: LabelledList) -> None:
    """`UserError` when a class of `val` has the number of another one in `train`.

    Training labels are 0..C-1, those of validation within them. Nothing can be seen of lists whose
    folders are no classes.
    """
    import numpy as np

    if val.classes:  # the folders themselves were read, by the names of `train`
        return
    names = _tails(train.classes or _folders_by_label(train))
    _check_official(train, names, val)
    folders = _tails(_folders_by_label(val))
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
    import numpy as np

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

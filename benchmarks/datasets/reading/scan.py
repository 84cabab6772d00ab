"""Class folders read as a list of labelled images, in torchvision's ImageFolder order."""

from array import array
from collections.abc import Sequence
from pathlib import Path

from benchmarks.datasets.reading.folders import (
    EXTENSIONS,
    Owners,
    Passed,
    but_holds,
    claim_classes,
    class_folders,
    holds_images,
    images_below,
    owners_above,
    passed_note,
    require_directory,
    say_note,
)
from benchmarks.datasets.reading.lists import LabelledList
from slurm.errors import UserError


def scan_folders(
    root: Path, classes: Sequence[str] = (), owners: Owners | None = None
) -> LabelledList:
    """Read `root/<class>/**/image`: classes, directories and files each in sorted order.

    Labels index `classes`, by default the sorted folder names (torchvision's ImageFolder order).
    Hidden and foreign folders and files that do not end like an image are passed over; the note of
    them is said here and returned. Raises
    `UserError` for a missing or empty root, an empty class folder, a folder that is not in
    `classes`, and one that was read already, here or by another scan with the same `owners`.
    """
    import numpy as np

    require_directory(root, "it should hold one folder of images for each class")
    passed = Passed()
    names = class_folders(root, passed)
    if not names:
        raise _no_class_folders(root)
    owners = {} if owners is None else owners
    owners |= {place: "" for place in owners_above(root) if place not in owners}
    claim_classes(root, names, owners)
    known = {name: label for label, name in enumerate(classes or names)}
    paths: list[str] = []
    counts: list[int] = []
    inodes: array[int] = array("Q")
    for name in names:
        if name not in known:
            raise UserError(
                f"{root / name} is not a class of the training list; remove or rename the folder"
            )
        before = +passed
        images = images_below(root, f"{root}/{name}", owners, passed, inodes)
        if not images:
            raise UserError(
                f"the class folder {root / name} holds no image ({' '.join(EXTENSIONS)})"
                f"{but_holds(+passed - before)}; fill or remove it"
            )
        paths += images
        counts.append(len(images))
    labels = np.repeat(np.array([known[name] for name in names], dtype=np.int64), counts)
    passed = +passed  # without those counted zero times
    if passed:
        say_note(passed_note(str(root), passed))
    notes = (passed_note(root.name, passed),) if passed else ()
    return LabelledList(root, tuple(paths), labels, tuple(known), notes, inodes)


def _no_class_folders(root: Path) -> UserError:
    remedy = "it should hold one for each class"
    if holds_images(str(root)):
        remedy = (
            f"its images lie side by side: give their classes in {root.parent}/meta/{root.name}.txt"
            f", lines 'name label' (MMSelfSup's list of a flat {root.name}/), or sort them into "
            "one folder for each class"
        )
    return UserError(f"{root} has no class folders; {remedy}")

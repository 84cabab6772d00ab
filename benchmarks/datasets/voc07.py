"""PASCAL VOC 2007 classification: `JPEGImages/` and the lists of `ImageSets/Main/`.

Expected size: 5,011 trainval and 4,952 test images, 20 classes. Labels follow FAIR's
`create_voc_data_files.py`: VOC's 1, -1 and 0 (difficult only) become 1, 0 and -1 (ignore).
"""

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.datasets.reading.folders import require_directory
from benchmarks.datasets.reading.lists import read_lines
from benchmarks.datasets.splits import Dataset, DatasetEntry, ImageSplit, Size
from benchmarks.input_files import is_there
from slurm.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REMEDY = "unpack VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar into one folder"
# How many trainval images show a class (the challenge's statistics, without difficult objects), by
# the names in alphabetical order: aeroplane 238, bicycle 243, ..., tvmonitor 256.
TRAINVAL_POSITIVES = (
    *(238, 243, 330, 181, 244, 186, 713, 337, 445, 141),
    *(200, 421, 287, 245, 2008, 245, 96, 229, 261, 256),
)
TRAINVAL_IMAGES = 5011
OTHER_LABELS = "these are not the labels of VOC2007"  # how the note begins, by which tables mark it
_OURS = {"1": 1, "-1": 0, "0": -1}


def load(folder: Path) -> Dataset:
    """Read `folder` = `VOCdevkit/VOC2007`, as `read_voc` does."""
    require_directory(folder, "--data should lead to VOCdevkit/VOC2007")
    return read_voc("voc07", folder, _REMEDY)


def read_voc(name: str, folder: Path, remedy: str) -> Dataset:
    """Read `folder/ImageSets/Main` and `folder/JPEGImages`.

    Labels are (N, C) int8: 1, 0, and -1 to ignore. Rows are sorted by image id and columns by class
    name; the classes are those that have a `<class>_trainval.txt` and a `<class>_test.txt`.
    """
    sets = folder / "ImageSets" / "Main"
    require_directory(sets, remedy)
    require_directory(folder / "JPEGImages", remedy)
    classes = _classes(sets, remedy)
    splits = {split: _split(folder, sets, split, classes, remedy) for split in ("trainval", "test")}
    both = set(splits["trainval"].paths) & set(splits["test"].paths)
    if both:
        raise UserError(
            f"{sets / 'test.txt'} names the image {min(both)[:-4]}, which "
            f"{sets / 'trainval.txt'} names too: no image may be trained on and tested; {remedy}"
        )
    notes = _same_lists(splits["trainval"], splits["test"])
    if name == "voc07":
        trainval = splits["trainval"].labels
        notes += other_labels((trainval == 1).sum(0), len(trainval))
    return Dataset(name, splits, notes)


def other_labels(positives: "NDArray[np.integer]", images: int) -> tuple[str, ...]:
    """A note where as many images and classes as VOC07's trainval has cannot be it.

    `positives` (C,) is how many of `images` show each class, in any order of classes.
    """
    if images != TRAINVAL_IMAGES or len(positives) != len(TRAINVAL_POSITIVES):
        return ()  # partial data, which tables say themselves
    left = Counter(TRAINVAL_POSITIVES) - Counter(positives.tolist())
    if not left:
        return ()
    return (
        f"{OTHER_LABELS}: {left.total()} of its 20 classes have other numbers "
        "of positives in trainval",
    )


def _same_lists(trainval: ImageSplit, test: ImageSplit) -> tuple[str, ...]:
    """A note of two classes whose lists say the same, as by a file that was copied."""
    seen: dict[bytes, str] = {}
    for column, name in enumerate(trainval.classes):
        said = trainval.labels[:, column].tobytes() + test.labels[:, column].tobytes()
        first = seen.setdefault(said, name)
        if first != name:
            return (f"classes {first} and {name} have the same labels in all images",)
    return ()


def _classes(sets: Path, remedy: str) -> tuple[str, ...]:
    found = {
        split: {
            path.name.removesuffix(f"_{split}.txt")
            for path in sets.glob(f"?*_{split}.txt")
            if not path.name.startswith(".")  # such as AppleDouble's ._cat_test.txt
        }
        for split in ("trainval", "test")
    }
    for name in sorted(found["trainval"] | found["test"]):
        if any("\ud800" <= sign <= "\udfff" for sign in name):
            raise UserError(
                f"the class {os.fsencode(name)!r} of the lists in {sets} has a name that is not "
                "UTF-8: rename its lists (a record is of classes whose names everybody can write)"
            )
    for split, other in (("trainval", "test"), ("test", "trainval")):
        for name in sorted(found[split] - found[other]):
            raise UserError(f"{sets / f'{name}_{other}.txt'} does not exist; {remedy}")
    if not found["trainval"]:
        raise UserError(f"{sets} has no list <class>_trainval.txt of any class; {remedy}")
    return tuple(sorted(found["trainval"]))


def _split(
    folder: Path, sets: Path, split: str, classes: tuple[str, ...], remedy: str
) -> ImageSplit:
    import numpy as np

    listed = sets / f"{split}.txt"
    lines: dict[str, int] = {}
    for number, line in enumerate(read_lines(listed, remedy), 1):
        if line.strip():
            _require_new(lines.setdefault(line.split()[0], number), number, line, listed)
    ids = sorted(lines)
    rows = {image: row for row, image in enumerate(ids)}
    for image in ids:
        if "/" in image or "\0" in image:
            raise UserError(f"{listed}: {image[:80]!r} is not an image id such as 000005")
    first = folder / "JPEGImages" / f"{ids[0]}.jpg"
    if not is_there(first):
        raise UserError(f"{first} of {listed} does not exist; {remedy}")
    labels = np.stack(
        [_column(sets / f"{name}_{split}.txt", rows, listed, remedy) for name in classes], axis=1
    )
    return ImageSplit(
        folder / "JPEGImages", tuple(f"{image}.jpg" for image in ids), labels, classes
    )


def _require_new(first: int, number: int, line: str, file: Path) -> None:
    if first != number:
        raise UserError(
            f"{file} line {number} repeats the image {line.split()[0][:80]} of line {first}: keep "
            "one line for each image"
        )


def _column(file: Path, rows: dict[str, int], listed: Path, remedy: str) -> "NDArray[np.int8]":
    """Read one class's `id label` lines; every image of the split must have exactly one label."""
    import numpy as np

    column = np.full(len(rows), 2, dtype=np.int8)
    first: dict[str, int] = {}
    for number, line in enumerate(read_lines(file, remedy), 1):
        fields = line.split()
        if not fields:
            continue
        where = f"{file} line {number}"
        if len(fields) != 2 or fields[1] not in _OURS:
            raise UserError(
                f"{where} is {line.strip()[:80]!r}; lines are 'id label', label 1, -1 or 0"
            )
        image, label = fields[0], _OURS[fields[1]]
        if image not in rows:
            raise UserError(f"{where}: the image {image} is not in {listed}; {remedy}")
        if column[rows[image]] not in (2, label):
            raise UserError(f"{where} gives the image {image} a second, different label; keep one")
        _require_new(first.setdefault(image, number), number, line, file)
        column[rows[image]] = label
    unlabelled = np.flatnonzero(column == 2)
    if len(unlabelled):
        image = list(rows)[int(unlabelled[0])]
        raise UserError(f"{file} has no label for the image {image} of {listed}; {remedy}")
    return column


VOC07 = DatasetEntry(
    name="voc07",
    title="VOC2007",
    folder="VOCdevkit/VOC2007",
    load=load,
    sizes={"trainval": Size(5011, 20), "test": Size(4952, 20)},
)

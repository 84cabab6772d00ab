"""Places205: MIT's own lists and folders, or the `meta/` lists of MMSelfSup and OpenSelfSup.

Expected size: 2,448,873 training and 20,500 validation images of 205 classes.
"""

from pathlib import Path

from benchmarks.datasets.joining import make_dataset
from benchmarks.datasets.reading.folders import require_directory
from benchmarks.datasets.reading.lists import (
    LabelledList,
    find_root,
    first_file,
    read_list,
)
from benchmarks.datasets.splits import Dataset, DatasetEntry, Size
from slurm.errors import UserError

IMAGES = "data/vision/torralba/deeplearning/images256"  # as imagesPlaces205_resize.tar unpacks


def load(folder: Path) -> Dataset:
    """Read the first list there is of `meta/{train,val}_labeled.txt`, `meta/{train,val}.txt` and
    `trainvalsplit_places205/{train,val}_places205.csv`, all of `relative/path label` lines.

    The images lie under `data/vision/torralba/deeplearning/images256/`, `{train,val}/` or
    `folder` itself: wherever the first one of the list is found.
    """
    require_directory(folder, "--data should lead to Places205: its lists and its images")
    train, train_root = _split(folder, "train")
    val, val_root = _split(folder, "val")
    return make_dataset("places205", train, train_root, val, val_root)


def _split(folder: Path, split: str) -> tuple[LabelledList, Path]:
    lists = [
        folder / f"meta/{split}_labeled.txt",
        folder / f"meta/{split}.txt",
        folder / f"trainvalsplit_places205/{split}_places205.csv",
    ]
    file = first_file(lists)
    if file is None:
        raise UserError(
            f"{folder} has no list of {split} images: none of "
            f"{', '.join(str(path.relative_to(folder)) for path in lists)}; "
            "unpack trainvalsplit_places205.tar.gz there"
        )
    listed = read_list(file)
    return listed, find_root(listed, [folder / IMAGES, folder / split, folder])


PLACES205 = DatasetEntry(
    name="places205",
    title="Places205",
    folder="places205",
    load=load,
    sizes={"train": Size(2_448_873, 205), "val": Size(20_500, 205)},
)

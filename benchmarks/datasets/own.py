"""A user's own data: class folders or lists as ImageNet has them, or lists as VOC2007 has them.

A protocol on them has the dataset `own:NAME`; the name is the user's, and heads their table.
"""

from pathlib import Path

from benchmarks.datasets.imagenet import read_folders
from benchmarks.datasets.reading.folders import require_directory
from benchmarks.datasets.splits import Dataset, DatasetEntry
from benchmarks.datasets.voc07 import read_voc
from benchmarks.input_files import is_folder
from slurm.errors import UserError

_LAYOUTS = (
    "train/CLASS/ and val/CLASS/ folders of images (or train/, val/ and the lists meta/train.txt, "
    "meta/val.txt), or JPEGImages/ and ImageSets/Main/ as VOC2007 has them"
)

_VOC = (
    "own data in VOC2007's layout are JPEGImages/ID.jpg, ImageSets/Main/trainval.txt and test.txt, "
    "and for each class CLASS_trainval.txt and CLASS_test.txt"
)


def load(folder: Path) -> Dataset:
    """Read own data of either layout; `UserError` when they are of none, or of both."""
    require_directory(folder, f"own data are {_LAYOUTS}")
    lists = is_folder(folder / "ImageSets" / "Main")
    folders = is_folder(folder / "train")
    if lists and folders:
        raise UserError(f"{folder} holds both train/ and ImageSets/Main/: which is meant? Move one")
    if lists:
        return read_voc("own", folder, _VOC)
    if folders:
        return read_folders("own", folder, f"own data are {_LAYOUTS}")
    raise UserError(f"{folder} holds no data that can be read: own data are {_LAYOUTS}")


OWN = DatasetEntry(name="own", title="own data", folder="", load=load, sizes={})

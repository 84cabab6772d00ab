"""ImageNet (ILSVRC 2012): `train/`, `val/` and, where there are any, the lists in `meta/`.

Expected size: 1,281,167 training and 50,000 validation images of 1,000 classes.
"""

from pathlib import Path

from benchmarks.datasets.joining import class_names, make_dataset
from benchmarks.datasets.reading.folders import Owners, require_directory, require_distinct
from benchmarks.datasets.reading.lists import LabelledList, find_root, first_file, read_list
from benchmarks.datasets.reading.scan import scan_folders
from benchmarks.datasets.splits import Dataset, DatasetEntry, Size


def load(folder: Path) -> Dataset:
    """Read ImageNet, as `read_folders` does."""
    remedy = "--data should lead to ImageNet: train/, val/ and perhaps meta/"
    return read_folders("imagenet", folder, remedy)


def read_folders(name: str, folder: Path, remedy: str) -> Dataset:
    """Read `folder/{train,val}/` by `meta/{train,val}_labeled.txt`, else `meta/{train,val}.txt`.

    Lists hold `relative/path label` (MMSelfSup, OpenSelfSup, Caffe); `val.txt` may list files that
    lie directly in `val/`. A split without a list is read from its class folders in sorted order.
    """
    require_directory(folder, remedy)
    owners: Owners = {}  # the same in both scans, so that no folder is of both splits
    train = _listed(folder, "train") or scan_folders(folder / "train", owners=owners)
    val = _listed(folder, "val") or scan_folders(folder / "val", class_names(train), owners)
    require_distinct(folder / "train", train.paths, folder / "val", val.paths)
    return make_dataset(name, train, folder / "train", val, folder / "val")


def _listed(folder: Path, split: str) -> LabelledList | None:
    meta = folder / "meta"
    file = first_file([meta / f"{split}_labeled.txt", meta / f"{split}.txt"])
    if file is None:
        return None
    require_directory(folder / split, f"{file} lists the images of this folder")
    listed = read_list(file)
    find_root(listed, [folder / split])
    return listed


IMAGENET = DatasetEntry(
    name="imagenet",
    title="ImageNet-1k",
    folder="imagenet",
    load=load,
    sizes={"train": Size(1_281_167, 1000), "val": Size(50_000, 1000)},
)

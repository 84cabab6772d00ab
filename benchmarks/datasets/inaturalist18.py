"""iNaturalist 2018: the official COCO-style annotations, or MMSelfSup's lists made from them.

Expected size: 437,513 training and 24,426 validation images of 8,142 classes.
"""

from pathlib import Path
from typing import Annotated

import msgspec

from benchmarks.datasets.joining import make_dataset
from benchmarks.datasets.reading.folders import require_directory
from benchmarks.datasets.reading.lists import (
    LabelledList,
    escapes,
    find_root,
    first_file,
    read_list,
)
from benchmarks.datasets.splits import Dataset, DatasetEntry, Size
from benchmarks.input_files import read_file
from slurm.errors import UserError


class _Image(msgspec.Struct):
    id: int
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: Annotated[int, msgspec.Meta(ge=0, lt=10**9)]


class _Annotations(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]


def load(folder: Path) -> Dataset:
    """Read `meta/{train,val}.txt`, else `{train,val}2018.json`; images lie in `train_val2018/`.

    The class of an image is its `category_id`, as in MMSelfSup's converter, so that both sources
    give the same labels. Lists may or may not repeat `train_val2018/` at the start of each path.
    """
    require_directory(
        folder, "--data should lead to iNaturalist 2018: train_val2018/ and its lists or JSON files"
    )
    train, train_root = _split(folder, "train")
    val, val_root = _split(folder, "val")
    return make_dataset("inaturalist18", train, train_root, val, val_root)


def _split(folder: Path, split: str) -> tuple[LabelledList, Path]:
    file = first_file(
        [
            folder / f"meta/{split}.txt",
            folder / f"{split}2018.json",
            folder / f"annotations/{split}2018.json",
        ]
    )
    if file is None:
        raise UserError(
            f"{folder} has neither meta/{split}.txt nor {split}2018.json; "
            f"unpack {split}2018.json.tar.gz there"
        )
    listed = read_list(file) if file.suffix == ".txt" else _read_annotations(file)
    return listed, find_root(listed, [folder / "train_val2018", folder, folder / split])


def _read_annotations(file: Path) -> LabelledList:
    """Join images and annotations by image id, in the order of the images, in linear time."""
    import numpy as np

    try:
        content = msgspec.json.decode(read_file(file), type=_Annotations)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{file} is not an annotation file of iNaturalist 2018 ({error}); download it again"
        ) from None
    category = {entry.image_id: entry.category_id for entry in content.annotations}
    images = {image.id: image.file_name for image in content.images}
    if not images:
        raise UserError(f"{file} lists no images; download it again")
    if len(category) < len(content.annotations) or len(images) < len(content.images):
        raise UserError(f"{file} gives an image more than one class; keep one entry per image id")
    if category.keys() != images.keys():
        odd = min(category.keys() ^ images.keys())
        what = "no annotation" if odd in images else "an annotation but no entry under images"
        raise UserError(f"{file}: the image with id {odd} has {what}; download the file again")
    labels = np.array([category[image] for image in images], dtype=np.int64)
    paths = tuple(images.values())
    if escapes(paths):
        raise UserError(f"{file}: a file_name leaves the image folder; download the file again")
    return LabelledList(file, paths, labels)


INATURALIST18 = DatasetEntry(
    name="inaturalist18",
    title="iNaturalist2018",
    folder="inaturalist2018",
    load=load,
    sizes={"train": Size(437_513, 8142), "val": Size(24_426, 8142)},
)

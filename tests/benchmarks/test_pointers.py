"""Git LFS pointers in place of files that were not fetched: named as such, whoever reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from benchmarks.catalog.records import read_record
from benchmarks.checkpoints.cards import Card
from benchmarks.checkpoints.files import read_file as read_checkpoint
from benchmarks.datasets import voc07
from benchmarks.datasets.inaturalist18 import load as load_inaturalist
from benchmarks.datasets.reading.lists import read_list
from benchmarks.features.arrays import open_array
from benchmarks.features.labels import read_classes, read_labels
from benchmarks.images.checking import check_file
from benchmarks.images.decoding import open_image
from slurm.errors import UserError
from slurm.scheduler.settings import read_settings
from tests.benchmarks.voc_data import write_voc

POINTER = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""


def checked(path: Path) -> None:
    error, _ = check_file(str(path))
    raise UserError(error)


READERS: dict[str, Callable[[Path], Any]] = {
    "image.jpg": open_image,
    "checked.png": checked,
    "train.txt": read_list,
    "voc07_test_feat5.npy": open_array,
    "train_labels.npy": lambda path: read_labels(path.parent, "trainval"),
    "classes.json": lambda path: read_classes(path.parent, 3),
    "weights.pth": read_checkpoint,
    "weights.safetensors": read_checkpoint,
    "record.json": read_record,
    "card.json": lambda path: results.read(path, Card),
    "done.json": lambda path: results.is_done(path, results.ProbeRecord),
    "cluster.toml": read_settings,
    "train2018.json": lambda path: load_inaturalist(path.parent),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pointer_is_named_and_how_to_fetch_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(POINTER)
    with pytest.raises(UserError, match=r"is a Git LFS pointer, .*: run git lfs pull") as caught:
        READERS[name](path)
    assert str(caught.value).startswith(str(path))
    assert path.read_bytes() == POINTER


@pytest.mark.parametrize("name", ["trainval.txt", "cat_test.txt"])
def test_pointers_among_the_lists_of_voc(tmp_path: Path, name: str) -> None:
    folder = write_voc(tmp_path / "VOC2007")
    (folder / "ImageSets/Main" / name).write_bytes(POINTER)
    with pytest.raises(UserError, match=rf"{name} is a Git LFS pointer"):
        voc07.load(folder)

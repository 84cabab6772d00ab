"""A user's own data, in either layout."""

from pathlib import Path

import pytest

from benchmarks.datasets import imagenet, voc07
from benchmarks.datasets.loading import load_dataset
from slurm.errors import UserError
from tests.benchmarks.voc_data import CLASSES, write_voc
from tests.conftest import write_image_folders


def test_class_folders_and_lists_are_read_as_imagenets(tmp_path: Path) -> None:
    """With the two lists, and without them."""
    folder = write_image_folders(tmp_path / "birds", train=2, val=1)
    for _ in range(2):
        load_dataset.cache_clear()
        own, theirs = load_dataset("own:birds", folder), imagenet.load(folder)
        assert own.name == "own"
        for split in ("train", "val"):
            assert own.splits[split].paths == theirs.splits[split].paths
            assert own.splits[split].fingerprint() == theirs.splits[split].fingerprint()
        for name in ("train", "val"):
            (folder / "meta" / f"{name}.txt").unlink(missing_ok=True)


def test_vocs_layout_with_other_classes_is_read_as_vocs(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "scenes")
    own, theirs = load_dataset("own:scenes", folder), voc07.load(folder)
    assert own.splits["trainval"].classes == CLASSES
    for split in ("trainval", "test"):
        assert own.splits[split].fingerprint() == theirs.splits[split].fingerprint()


def test_what_is_of_neither_layout_or_of_both_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no data that can be read: own data are"):
        load_dataset("own:x", tmp_path)
    with pytest.raises(UserError, match=r"nowhere does not exist; own data are train/CLASS/"):
        load_dataset("own:x", tmp_path / "nowhere")
    both = write_voc(tmp_path / "both")
    (both / "train").mkdir()
    with pytest.raises(UserError, match=r"holds both train/ and ImageSets/Main/"):
        load_dataset("own:x", both)


def test_no_remedy_speaks_of_another_dataset(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "scenes")
    (folder / "ImageSets/Main/bird_test.txt").unlink()
    with pytest.raises(UserError, match=r"bird_test.txt does not exist; own data in VOC2007's"):
        load_dataset("own:scenes", folder)

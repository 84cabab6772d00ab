"""What every dataset promises, asked of the embedded data in each layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.splits import Dataset
from benchmarks.images.decoding import open_image
from slurm.errors import UserError

# Those that the embedded digits are written as.
EXPECTED = {
    "imagenet": {"train": 1438, "val": 718},
    "places205": {"train": 721, "val": 359},
    "inaturalist18": {"train": 625, "val": 359},
    "voc07": {"trainval": 2200, "test": 600},
}


@pytest.fixture(params=list(EXPECTED))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dataset(name: str, digits: Path) -> Dataset:
    return DATASETS[name].load(digits / DATASETS[name].folder)


def test_names_and_sizes(name: str, dataset: Dataset) -> None:
    assert dataset.name == name
    assert {key: len(split.paths) for key, split in dataset.splits.items()} == EXPECTED[name]


def test_labels_fit_the_classes(dataset: Dataset) -> None:
    first, second = dataset.splits.values()
    assert first.classes == second.classes
    assert len(set(first.classes)) == 10
    for split in (first, second):
        if split.labels.ndim == 1:
            assert split.labels.dtype == np.int64
            assert split.labels.shape == (len(split.paths),)
            assert np.unique(split.labels).tolist() == list(range(10))
        else:
            assert split.labels.dtype == np.int8
            assert split.labels.shape == (len(split.paths), 10)
            assert np.unique(split.labels).tolist() == [-1, 0, 1]


def test_paths_are_relative_distinct_and_within_the_root(dataset: Dataset) -> None:
    for split in dataset.splits.values():
        assert len(set(split.paths)) == len(split.paths)
        assert not any(path.startswith("/") or ".." in path for path in split.paths)


def test_every_file_is_there_and_images_decode(dataset: Dataset) -> None:
    for split in dataset.splits.values():
        assert all((split.root / path).is_file() for path in split.paths)
        for path in split.paths[:: len(split.paths) // 7]:
            image = open_image(split.root / path)
            assert image.mode == "RGB"
            assert image.size in ((40, 40), (64, 64))


def test_no_image_is_in_both_splits(dataset: Dataset) -> None:
    first, second = dataset.splits.values()
    held = {(second.root / path).read_bytes() for path in second.paths}
    assert not any((first.root / path).read_bytes() in held for path in first.paths)


def test_fingerprint_is_the_same_on_a_second_read_and_elsewhere(
    name: str, dataset: Dataset, digits: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    moved.symlink_to(digits / DATASETS[name].folder)
    again = DATASETS[name].load(moved)
    prints = {key: split.fingerprint() for key, split in dataset.splits.items()}
    assert prints == {key: split.fingerprint() for key, split in again.splits.items()}
    assert len({split.sha256 for split in prints.values()}) == 2


def test_other_images_of_the_same_names_have_another_fingerprint(
    name: str, dataset: Dataset, digits: Path, tmp_path: Path
) -> None:
    """As in ImageNet-C: the lists are equal, the images are not."""
    copy = tmp_path / "corrupted"
    shutil.copytree(digits / DATASETS[name].folder, copy)
    splits = DATASETS[name].load(copy).splits
    for split in splits.values():
        for path in split.paths:
            image = Image.open(split.root / path).convert("L")
            image.save(split.root / path, quality=50)
    for key, split in splits.items():
        before, after = dataset.splits[key].fingerprint(), split.fingerprint()
        assert before.sha256 == after.sha256
        assert before.sizes != after.sizes


def test_a_missing_folder_is_one_clear_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere does not exist; --data should lead to") as caught:
        DATASETS[name].load(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_one_clear_line_naming_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        DATASETS[name].load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)

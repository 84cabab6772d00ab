"""A folder that is one level too high, or holds another layout than is asked for."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.loading import load_dataset
from slurm.errors import UserError
from tests.benchmarks.voc_data import write_voc


@pytest.fixture
def data(tmp_path: Path, tiny_imagenet: Path) -> Path:
    write_voc(tmp_path / "VOCdevkit" / "VOC2007", {"trainval": 48, "test": 20})
    (tmp_path / "imagenet").symlink_to(tiny_imagenet)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "folder", "below"),
    [
        ("voc07", "VOCdevkit", "VOCdevkit/VOC2007"),
        ("voc07", ".", "VOCdevkit/VOC2007"),
        ("imagenet", ".", "imagenet"),
    ],
)
def test_what_lies_below_is_named(data: Path, name: str, folder: str, below: str) -> None:
    given, there = data / folder, data / below
    says = f"^{given} does not hold {DATASETS[name].title} itself: name {there}, which is there, "
    with pytest.raises(UserError, match=says):
        load_dataset(name, given)


def test_a_fault_of_the_dataset_itself_stays_what_it_is(data: Path) -> None:
    with pytest.raises(UserError, match="unpack VOCtrainval_06-Nov"):
        load_dataset("voc07", data / "imagenet")
    with pytest.raises(UserError, match=r"train and val|train/|holds"):
        load_dataset("own:mine", data)


def test_data_of_ones_own_name_the_flag(data: Path) -> None:
    given = ["--ckpt", "random:resnet18", "--zoo", str(data / "zoo"), "--dry-run"]
    for folder in ("imagenet", "VOCdevkit/VOC2007"):
        own = f"; if {data / folder} itself is data of your own, add --own NAME$"
        with pytest.raises(UserError, match=own):
            main([*given, "--data", str(data / folder)])
    with pytest.raises(UserError, match=r"leave its benchmarks out with --only$"):
        main([*given, "--data", str(data)])

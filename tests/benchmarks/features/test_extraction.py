"""The cache of features: what is in it, and when it may not be written or believed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.datasets.loading import fingerprints, load_dataset
from benchmarks.features.extraction import ExtractVoc, extract_item
from benchmarks.features.files import feature_path
from benchmarks.protocols import ImageTransform
from benchmarks.registry import load_backbone, register
from slurm.errors import UserError
from tests.benchmarks.voc_data import COUNTS, make_trunk, write_voc

PROTOCOL = replace(
    VOC07_SVM, name="test_voc07_svm", image=ImageTransform(crop=32, resize=32), pooled_size=512
)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "VOC2007")


def forget() -> None:
    """What another process, which starts later, does not remember."""
    load_dataset.cache_clear()
    fingerprints.cache_clear()


def make_item(zoo: Path, voc: Path, ckpt: str = "random:resnet18") -> ExtractVoc:
    return extract_item(make_trunk(zoo, ckpt), voc, PROTOCOL)


def test_every_tap_and_split_has_a_file_of_its_shape(tmp_path: Path, voc: Path) -> None:
    item = make_item(tmp_path, voc)
    item.run()
    assert item.done()
    for split, count in COUNTS.items():
        for tap in ("feature1", "feature5"):
            values = np.load(feature_path(item.directory, tap, split))
            assert values.dtype == np.float32
            assert values.shape == (count, 512 if tap == "feature5" else 256)
            assert len(np.unique(values, axis=0)) == count


@pytest.mark.parametrize("kind", ["file", "registered"])
def test_a_checkpoint_that_was_replaced_after_planning_is_not_measured(
    tmp_path: Path, voc: Path, kind: str
) -> None:
    def put(seed: int) -> str:
        weights = load_backbone(tmp_path, "random:resnet18", seed)[0].trunk.state_dict()
        if kind == "file":
            torch.save(weights, tmp_path / "latest.pth")
            return str(tmp_path / "latest.pth")
        register(tmp_path, "latest", weights, arch="resnet18", sobel=False, force=True)
        return "latest"

    item = make_item(tmp_path, voc, put(1))
    put(2)
    with pytest.raises(UserError, match="was replaced after this run was planned"):
        item.run()
    assert not list((tmp_path / "features").rglob("*_feat*.npy"))
    put(1)
    item.run()
    assert item.done()


@pytest.mark.parametrize("change", ["images", "labels"])
def test_data_that_were_changed_after_planning_are_not_measured(
    tmp_path: Path, voc: Path, change: str
) -> None:
    item = make_item(tmp_path, voc)
    if change == "images":
        for path in voc.glob("JPEGImages/*.jpg"):
            Image.open(path).convert("L").save(path)
    else:
        labels = voc / "ImageSets/Main/cat_test.txt"
        labels.write_text(labels.read_text().replace(" 1\n", " 0\n"))
    forget()
    with pytest.raises(UserError, match="were changed after this run was planned"):
        item.run()
    assert not (tmp_path / "features").exists()


@pytest.mark.parametrize("harm", ["delete", "truncate", "old marker"])
@pytest.mark.parametrize("name", ["voc07_test_feat3.npy", "train_labels.npy", "classes.json"])
def test_a_damaged_cache_is_repaired(tmp_path: Path, voc: Path, harm: str, name: str) -> None:
    item = make_item(tmp_path, voc)
    item.run()
    before = {path.name: path.read_bytes() for path in item.directory.iterdir()}
    victim = item.directory / name
    if harm == "delete":
        victim.unlink()
    elif harm == "truncate":
        victim.write_bytes(victim.read_bytes()[:-4])
    else:
        item.marker.write_bytes(b"{}\n")
    assert not item.done()
    item.run()
    assert item.done()
    assert {path.name: path.read_bytes() for path in item.directory.iterdir()} == before


def test_only_the_damaged_split_is_extracted_again(tmp_path: Path, voc: Path) -> None:
    item = make_item(tmp_path, voc)
    item.run()
    feature_path(item.directory, "feature3", "test").unlink()
    kept = feature_path(item.directory, "feature3", "trainval").stat().st_mtime_ns
    item.run()
    assert feature_path(item.directory, "feature3", "trainval").stat().st_mtime_ns == kept
    assert item.done()

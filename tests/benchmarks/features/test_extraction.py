"""The cache of features: what is in it, and when it may not be written or believed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.datasets.loading import fingerprints, load_dataset
from benchmarks.features.extraction import (
    TOOK,
    ExtractVoc,
    Forward,
    extract_item,
    read_forward,
    read_seconds,
)
from benchmarks.features.files import feature_path
from benchmarks.protocols import ImageTransform
from benchmarks.registry import load_backbone, register
from benchmarks.svm.source import Source, trunk_source
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


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but that of the seconds, which no two runs share."""
    assert read_seconds(folder) is not None
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != TOOK}


@pytest.mark.parametrize("harm", ["delete", "truncate", "old marker"])
@pytest.mark.parametrize("name", ["voc07_test_feat3.npy", "train_labels.npy", "classes.json"])
def test_a_damaged_cache_is_repaired(tmp_path: Path, voc: Path, harm: str, name: str) -> None:
    item = make_item(tmp_path, voc)
    item.run()
    before = contents(item.directory)
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
    assert contents(item.directory) == before


def test_only_the_damaged_split_is_extracted_again(tmp_path: Path, voc: Path) -> None:
    item = make_item(tmp_path, voc)
    item.run()
    feature_path(item.directory, "feature3", "test").unlink()
    kept = feature_path(item.directory, "feature3", "trainval").stat().st_mtime_ns
    item.run()
    assert feature_path(item.directory, "feature3", "trainval").stat().st_mtime_ns == kept
    assert item.done()


def changed_at_the_same_size(path: Path) -> None:
    """Half of a file's numbers become others, as by a bad disk or a copy of another run's file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle:] = content[middle:][::-1]
    assert bytes(content) != path.read_bytes()
    path.write_bytes(content)


def source_of(zoo: Path, voc: Path) -> Source:
    return trunk_source(make_trunk(zoo, "random:resnet18"), voc, PROTOCOL, ("feature3",))


@pytest.mark.parametrize("name", ["voc07_test_feat3.npy", "train_labels.npy", "classes.json"])
def test_bytes_that_were_changed_at_the_same_size_are_never_measured(
    tmp_path: Path, voc: Path, name: str
) -> None:
    source = source_of(tmp_path, voc)
    (item,) = source.needs
    item.run()
    source.read("feature3")
    changed_at_the_same_size(source.features / name)
    with pytest.raises(UserError, match=rf"{name} is not what was extracted.* remove random-"):
        source.read("feature3")


@pytest.mark.parametrize("how", ["folder", "marker"])
def test_features_of_another_transform_are_never_measured(
    tmp_path: Path, voc: Path, how: str
) -> None:
    """A folder that was renamed by hand, or a marker copied into a folder of its own features."""
    other = replace(PROTOCOL, image=ImageTransform(crop=32, resize=40))
    foreign = extract_item(make_trunk(tmp_path, "random:resnet18"), voc, other)
    foreign.run()
    source = source_of(tmp_path, voc)
    item = source.needs[0]
    assert isinstance(item, ExtractVoc)
    if how == "folder":
        foreign.directory.rename(item.directory)
    else:
        item.run()
        item.marker.write_bytes(foreign.marker.read_bytes())
    assert not item.done()
    with pytest.raises(UserError, match="is not of the features in its folder"):
        source.read("feature3")
    item.run()
    wanted = extract_item(make_trunk(tmp_path / "other", "random:resnet18"), voc, PROTOCOL)
    wanted.run()
    assert contents(item.directory) == contents(wanted.directory)


def test_a_marker_of_an_earlier_build_is_valid(tmp_path: Path, voc: Path) -> None:
    source = source_of(tmp_path, voc)
    item = source.needs[0]
    assert isinstance(item, ExtractVoc)
    item.run()
    sizes = {
        path.name: path.stat().st_size for path in item.directory.iterdir() if path != item.marker
    }
    item.marker.write_bytes(msgspec.json.encode(sizes) + b"\n")
    assert item.done()
    assert source.read("feature3").train.shape == (COUNTS["trainval"], 512)
    (item.directory / "voc07_test_feat3.npy").unlink()
    assert not item.done()


def test_what_a_killed_extraction_finished_is_kept(
    tmp_path: Path, voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item(tmp_path, voc)
    extract = ExtractVoc._extract

    def killed(self: ExtractVoc, backbone: Any, images: Any, files: dict[str, Path]) -> None:
        if "test" in next(iter(files.values())).name:
            raise KeyboardInterrupt
        extract(self, backbone, images, files)

    monkeypatch.setattr(ExtractVoc, "_extract", killed)
    with pytest.raises(KeyboardInterrupt):
        item.run()
    assert not item.done()
    kept = feature_path(item.directory, "feature3", "trainval").stat().st_mtime_ns
    monkeypatch.undo()
    item.run()
    assert item.done()
    assert feature_path(item.directory, "feature3", "trainval").stat().st_mtime_ns == kept
    assert not (item.directory / "partial.json").exists()


def test_features_without_a_marker_are_not_trusted(tmp_path: Path, voc: Path) -> None:
    """They may be of any network: a killed extraction leaves a marker of its own."""
    item = make_item(tmp_path, voc)
    item.run()
    path = feature_path(item.directory, "feature3", "trainval")
    before = path.read_bytes()
    changed_at_the_same_size(path)
    item.marker.unlink()
    item.run()
    assert path.read_bytes() == before


def test_a_slower_twin_leaves_the_files_as_they_are(
    tmp_path: Path, voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last bits may be others, on another GPU, while readers compare with the first's."""
    first, twin = make_item(tmp_path, voc), make_item(tmp_path, voc)
    extract = ExtractVoc._extract
    times: dict[Path, int] = {}

    def after_the_first(self: ExtractVoc, *args: Any) -> None:
        monkeypatch.undo()
        first.run()
        times.update({path: path.stat().st_mtime_ns for path in first.directory.glob("*_feat*")})
        extract(self, *args)

    monkeypatch.setattr(ExtractVoc, "_extract", after_the_first)
    twin.run()
    assert first.done()
    assert len(times) == 10
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_classes_of_other_names_share_neither_features_nor_results(
    tmp_path: Path, voc: Path
) -> None:
    """Images and labels are the same, so that nothing but the names tells them apart."""
    source = source_of(tmp_path, voc)
    source.needs[0].run()
    for path in (voc / "ImageSets/Main").glob("bird_*.txt"):
        path.rename(path.with_name(path.name.replace("bird", "boat")))
    forget()
    late = extract_item(make_trunk(tmp_path / "late", "random:resnet18"), voc, PROTOCOL)
    with pytest.raises(UserError, match="were renamed after this run was planned"):
        replace(late, classes=source.needs[0].classes).run()  # type: ignore[attr-defined]
    renamed = source_of(tmp_path, voc)
    assert renamed.splits == source.splits
    assert renamed.features != source.features
    assert renamed.inputs("feature3") != source.inputs("feature3")
    renamed.needs[0].run()
    assert source.read("feature3").classes == ("bird", "cat")
    assert renamed.read("feature3").classes == ("boat", "cat")


def test_features_of_another_precision_are_not_gone_on_with(tmp_path: Path, voc: Path) -> None:
    """A stopped extraction on a GPU, say, that goes on here."""
    item = make_item(tmp_path, voc)
    item.run()
    assert read_forward(item.directory) == Forward("cpu", "fp32")
    path = feature_path(item.directory, "feature3", "trainval")
    before = path.stat().st_mtime_ns
    (item.directory / "forward.json").write_bytes(b'{"device":"cuda","precision":"tf32"}')
    item.marker.rename(item.directory / "partial.json")
    item.run()
    assert item.done()
    assert path.stat().st_mtime_ns != before
    assert read_forward(item.directory) == Forward("cpu", "fp32")

"""The cache of average-pooled features: right, shared, resumed, and never another's."""

import errno
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.catalog.images import DIGIT
from benchmarks.datasets import imagenet
from benchmarks.features import one_pass
from benchmarks.features.__main__ import cached
from benchmarks.features.avgpool import (
    ExtractAvgpool,
    ExtractTogether,
    avgpool_item,
    share_extractions,
)
from benchmarks.features.rows import RowsFile
from benchmarks.features.took import SHARE, TOOK
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.knn.item import knn_item
from benchmarks.protocols import KnnProtocol
from benchmarks.registry import load_backbone
from benchmarks.trunks import Trunk
from slurm.errors import UserError
from slurm.stop import Stopped
from tests.benchmarks.trunks import random_trunk


@pytest.fixture
def item(tmp_path: Path, tiny_imagenet: Path) -> ExtractAvgpool:
    return avgpool_item(random_trunk(tmp_path), tiny_imagenet, "imagenet", DIGIT, "fp32")


def contents(item: ExtractAvgpool) -> dict[str, bytes]:
    """All files, but for those of how long it took."""
    files = [path for path in item.directory.iterdir() if path.name not in (TOOK, SHARE)]
    return {path.name: path.read_bytes() for path in files}


def test_features_are_the_mean_of_the_last_map(item: ExtractAvgpool, tiny_imagenet: Path) -> None:
    item.run()
    assert item.done()
    backbone, card = load_backbone(item.trunk.zoo, "random:resnet18")
    split = imagenet.load(tiny_imagenet).splits["val"]
    batches = load_batches(
        split,
        build_transform(DIGIT, card.mean, card.std),
        np.arange(18),
        batch_size=18,
        seed=0,
        epoch=0,
    )
    with torch.inference_mode():
        maps = [backbone(pixels)["feature5"] for pixels, _ in batches]
    expected = maps[0].mean((2, 3)).numpy()
    found = item.read()
    assert found.val == pytest.approx(expected, abs=1e-5)
    assert found.val_labels.tolist() == split.labels.tolist()
    assert isinstance(found.train, np.memmap)
    assert found.train.shape == (48, 512)
    labels = np.load(item.directory / "train_labels.npy")
    assert labels.tolist() == found.train_labels.tolist()


def test_half_precision_is_the_rounded_one_in_half_the_space(item: ExtractAvgpool) -> None:
    half = replace(item, dtype="fp16")
    item.run()
    half.run()
    assert half.directory != item.directory
    assert np.array_equal(half.read().train, item.read().train.astype(np.float16))
    sizes = [(one.directory / "train.npy").stat().st_size - 128 for one in (item, half)]
    assert sizes[0] == 2 * sizes[1]


def test_one_pass_for_two_leaves_the_bytes_of_two_passes(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pair(zoo: Path) -> list[ExtractAvgpool]:
        trunks = [random_trunk(zoo), random_trunk(zoo, "random:resnet34")]
        return [avgpool_item(one, tiny_imagenet, "imagenet", DIGIT, "fp16") for one in trunks]

    alone = pair(tmp_path / "alone")
    for one in alone:
        one.run()
    decoded: list[int] = []
    real = one_pass._batches

    def counted(*args: Any) -> Iterator[Any]:
        for found in real(*args):
            decoded.append(len(found[0]))
            yield found

    monkeypatch.setattr(one_pass, "_batches", counted)
    both = pair(tmp_path / "both")
    ExtractTogether(tuple(both)).run()
    assert sum(decoded) == 48 + 18
    for one, other in zip(alone, both):
        assert contents(one) == contents(other)


def test_a_pass_that_was_stopped_goes_on_where_it_was(
    item: ExtractAvgpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_pass, "BATCH", 16)
    whole = replace(item, trunk=replace(item.trunk, zoo=item.trunk.zoo / "whole"))
    whole.run()
    real, started = one_pass._batches, []

    def stopping(images: Any, of: Any, start: int, device: Any) -> Iterator[Any]:
        started.append(start)
        for number, found in enumerate(real(images, of, start, device)):
            if number == 1 and len(started) == 1:
                signal.raise_signal(signal.SIGTERM)
            yield found

    monkeypatch.setattr(one_pass, "_batches", stopping)
    with pytest.raises(Stopped, match="saved at image 32 of 48"):
        item.run()
    assert not item.done()
    (left,) = [one for one in cached(item.trunk.zoo) if not one.name.startswith("whole")]
    assert not left.complete  # a part of the cache, which can be removed
    assert json.loads(item.state.read_bytes())["rows"] == 32
    item.run()
    assert started == [0, 32, 0]
    assert contents(item) == contents(whole)


def test_rows_are_kept_only_of_the_same_making(tmp_path: Path) -> None:
    path = tmp_path / "train.npy"

    def begun(made: str) -> RowsFile:
        return RowsFile(path, 10, 4, "fp16", made)

    first = begun("cpu fp32")
    first.append(np.ones((6, 4), np.float32))
    first.save()
    twin = begun("cpu fp32")  # while the first is at it: a file of its own
    assert twin.done == 0
    twin.close()
    first.append(np.full((2, 4), 7.0))  # not noted: a crash may have lost it
    first.close()
    again = begun("cpu fp32")
    assert again.done == 6
    again.append(np.zeros((4, 4)))
    again.finish()
    assert np.load(path).sum() == 24
    assert [one.name for one in tmp_path.iterdir()] == ["train.npy"]
    other = begun("cuda tf32")
    other.append(np.ones((3, 4)))
    other.save()
    other.close()
    fresh = begun("cpu fp32")
    assert fresh.done == 0
    fresh.close()


def test_rows_are_kept_where_a_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: Any, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("benchmarks.features.rows.fcntl.flock", no_locks)
    path = tmp_path / "train.npy"
    first = RowsFile(path, 10, 4, "fp16", "cpu fp32")
    first.append(np.ones((6, 4), np.float32))
    first.save()
    twin = RowsFile(path, 10, 4, "fp16", "cpu fp32")  # while the first is at it
    assert twin.done == 0
    first.append(np.ones((1, 4)))
    first.close()
    again = RowsFile(path, 10, 4, "fp16", "cpu fp32")
    assert again.done == 6
    twin.append(np.ones((2, 4)))
    again.append(np.zeros((4, 4)))
    again.finish()
    again.close()
    assert not list(tmp_path.glob(".train.[pj]*"))  # no part and no state
    twin.close()
    assert np.load(path).tolist() == [[1] * 4] * 6 + [[0] * 4] * 4


def test_a_disk_that_is_too_small_is_known_before_anything_is_decoded(
    item: ExtractAvgpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = (48 + 18) * 512 * 4
    monkeypatch.setattr(one_pass.shutil, "disk_usage", lambda path: SimpleNamespace(free=need - 1))
    monkeypatch.setattr(one_pass, "_batches", lambda *args: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"the features of random-resnet18 take 0.0 GB more in "):
        item.run()
    monkeypatch.undo()
    monkeypatch.setattr(one_pass.shutil, "disk_usage", lambda path: SimpleNamespace(free=need))
    item.run()
    assert item.done()


def test_features_of_another_transform_are_refused(item: ExtractAvgpool) -> None:
    item.run()
    other = replace(item, image=replace(DIGIT, resize=48))
    assert other.directory != item.directory
    item.directory.rename(other.directory)  # as a user may, who thinks that it is the same
    remedy = f"python -m benchmarks.features remove random-resnet18/{other.directory.name}"
    for refused in (other.run, other.read):
        with pytest.raises(UserError, match=f"are of another image than this run needs: {remedy}"):
            refused()


def test_features_that_are_no_numbers_are_neither_written_nor_read(
    item: ExtractAvgpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = one_pass._pooled

    def broken(*args: Any) -> torch.Tensor:
        found = real(*args).clone()  # of inference mode, where nothing is changed in place
        found[3, 5] = torch.nan
        return found

    with monkeypatch.context() as patch:
        patch.setattr(one_pass, "_pooled", broken)
        with pytest.raises(UserError, match=r"of random-resnet18 are NaN or infinity for .*3\.jpg"):
            item.run()
        assert not item.done()
        patch.setattr(one_pass, "_check", lambda *args: None)
        item.run()
    with pytest.raises(UserError, match=r"train\.npy holds NaN or infinity in row 3: look at"):
        item.read()


@pytest.mark.parametrize(("power", "refused"), [(-10, False), (-20, True), (-200, False)])
def test_features_too_small_for_half_precision_are_not_rounded(
    item: ExtractAvgpool, monkeypatch: pytest.MonkeyPatch, power: int, refused: bool
) -> None:
    """Zeros alone, as dead units have them, lose nothing."""
    real = one_pass.pooled
    monkeypatch.setattr(one_pass, "pooled", lambda *args: real(*args) * 2.0**power)
    half = replace(item, dtype="fp16")
    if refused:
        with pytest.raises(UserError, match=r"are too small for fp16, .*: add --set dtype=fp32"):
            half.run()
        assert not half.done()
        replace(item, dtype="fp32").run()
    else:
        half.run()
        assert half.done()


def test_rows_of_zeros_alone_do_not_make_the_others_too_small(
    item: ExtractAvgpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = one_pass.pooled

    def mostly_dead(*args: Any) -> torch.Tensor:
        found = real(*args).clone()
        found[1:] = 0
        return found

    monkeypatch.setattr(one_pass, "pooled", mostly_dead)
    half = replace(item, dtype="fp16")
    half.run()
    assert half.done()


def test_a_changed_file_is_noticed(item: ExtractAvgpool) -> None:
    item.run()
    path = item.directory / "val.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not what was extracted, though it is as long"):
        item.read()


def test_only_what_reads_the_same_images_shares_a_pass(tmp_path: Path, tiny_imagenet: Path) -> None:
    protocol = KnnProtocol("x", "digits", DIGIT, ks=(3,))
    trunks: list[Trunk] = [random_trunk(tmp_path, f"random:{x}") for x in ("resnet18", "resnet34")]
    goals = [knn_item(trunk, tiny_imagenet, protocol) for trunk in trunks]
    wider = replace(protocol, image=replace(DIGIT, resize=48))
    goals.append(knn_item(trunks[0], tiny_imagenet, wider))
    first, second, third = share_extractions(goals, 8)
    assert (
        first.needs
        == second.needs
        == (ExtractTogether((goals[0].extraction, goals[1].extraction)),)
    )
    assert third.needs == (goals[2].extraction,)
    assert share_extractions(goals, 1) == goals
    assert [one.result for one in (first, second)] == [one.result for one in goals[:2]]

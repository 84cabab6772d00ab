"""Mean and std by what timm's scripts, and those built on it, write beside the weights."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data import resolve_data_config

from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD
from benchmarks.checkpoints.finding.timm_files import named_architecture
from benchmarks.checkpoints.reading import Imported, read_checkpoint

TINY = "vit_tiny_patch16_224"
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]


def read(path: Path, arch: str, args: dict[str, Any] | None = None, **more: Any) -> Imported:
    """What is found in a file as timm's CheckpointSaver writes it, but for `more`."""
    state = timm.create_model(arch.rpartition("/")[2]).state_dict()
    flags = {} if args is None else {"args": argparse.Namespace(model=arch, lr=0.1, **args)}
    content = {"epoch": 9, "arch": arch, "state_dict": state, "version": 2} | flags | more
    torch.save({k: v for k, v in content.items() if v is not None}, path)
    return read_checkpoint(path)


@pytest.mark.parametrize(
    "arch", [TINY, f"{TINY}.augreg_in21k", "deit_tiny_patch16_224", "resnet18"]
)
@pytest.mark.parametrize("args", [{"mean": None, "std": None}, {"mean": MEAN, "std": STD},
                                  {"mean": [0.3], "std": None}])  # fmt: skip
def test_pixels_are_those_of_timms_own_script(
    tmp_path: Path, arch: str, args: dict[str, Any]
) -> None:
    found = read(tmp_path / "x.pth.tar", arch, args)
    said = resolve_data_config(args, model=timm.create_model(arch))
    assert (found.mean, found.std) == (tuple(said["mean"]), tuple(said["std"]))
    usual = (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)
    notes = [note for note in found.notes if "of its pixels by" in note]
    assert len(notes) == (0 if usual else 1)
    assert not any("pixels are normalised" in note for note in found.notes)
    if not usual:
        by = "the file's args" if args["mean"] else "timm's configuration of its network"
        assert notes[0].endswith(by)


def test_an_average_of_the_weights_changes_nothing_of_that(tmp_path: Path) -> None:
    average = timm.create_model(TINY).state_dict()
    found = read(tmp_path / "x.pth.tar", TINY, state_dict_ema=average)
    assert (found.format, found.mean, found.std) == ("timm-ema", (0.5,) * 3, (0.5,) * 3)


def test_files_of_other_scripts_are_assumed_to_be_of_imagenet(tmp_path: Path) -> None:
    """PyTorch's ImageNet example and MoCo write `arch` too, and normalise as ImageNet."""
    found = read(tmp_path / "x.pth.tar", TINY, version=None)
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert any("pixels are normalised" in note for note in found.notes)


def test_scripts_that_were_told_not_to_use_imagenets(tmp_path: Path) -> None:
    for told, mean in ((False, (0.5,) * 3), (True, IMAGENET_MEAN)):
        args = {"imagenet_default_mean_and_std": told}
        found = read(tmp_path / "x.pth.tar", "resnet18", args, version=None)
        assert found.mean == mean
        assert any("0.5, as the file's args say" in note for note in found.notes) is not told


@pytest.mark.parametrize("args", [{"mean": "0.5"}, {"mean": [1, 2]}, {"mean": ["a", "b", "c"]}])
def test_other_values_of_these_flags_are_not_used(tmp_path: Path, args: dict[str, Any]) -> None:
    assert read(tmp_path / "x.pth.tar", "resnet18", args).mean == IMAGENET_MEAN


def test_tags_and_hubs_are_no_part_of_an_architecture() -> None:
    for said in ("resnet18", "resnet18.a1_in1k", "timm/resnet18.a1", "hf-hub:timm/resnet18.x"):
        assert named_architecture({"arch": said}) == "resnet18"
    assert named_architecture({"arch": 3}) is None
    assert named_architecture({}) is None

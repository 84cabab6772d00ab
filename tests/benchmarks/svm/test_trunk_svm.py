"""The SVM benchmarks of a trunk: its images go in, a record of the layers it has comes out."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
import torch

from benchmarks import results
from benchmarks.backbones.backbone import Backbone, build_backbone
from benchmarks.backbones.taps import tap_names
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.protocols import ImageTransform
from benchmarks.svm.full_item import VocSvm, voc_svm_item
from benchmarks.svm.low_shot_item import VocLowShot, low_shot_item
from benchmarks.svm.machine import _engine
from benchmarks.svm.source import file_source, trunk_source
from slurm.errors import UserError
from slurm.executor import Launch, run_sweep
from slurm.sweep import items_to_run
from tests.benchmarks.svm.svm_data import Recipe, make, write
from tests.benchmarks.voc_data import make_trunk, write_voc

SMALL = {"image": ImageTransform(crop=32, resize=32), "pooled_size": 512, "costs": (0.1, 1.0)}
SVM = replace(VOC07_SVM, name="test_svm", **SMALL)
LOW_SHOT = replace(
    VOC07_LOW_SHOT, name="test_low_shot", shots=(1,), samples=2, negatives_per_positive=5, **SMALL
)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "VOC2007")


def test_a_trunk_of_four_stages_has_four_layers(tmp_path: Path, voc: Path) -> None:
    """ConvNeXt has no map before its first stage."""
    trunk = make_trunk(tmp_path, "random:convnext_atto")
    full, few = voc_svm_item(trunk, voc, SVM), low_shot_item(trunk, voc, LOW_SHOT)
    run_sweep([full, few], Launch())
    expected = ["feature2", "feature3", "feature4", "feature5"]
    assert list(results.read(full.result, results.VocSvmRecord).layers) == expected
    assert list(results.read(few.result, results.LowShotRecord).layers) == expected


def test_a_layer_that_the_trunk_lacks_is_one_clear_line(tmp_path: Path, voc: Path) -> None:
    trunk = make_trunk(tmp_path, "random:convnext_atto")
    says = "convnext_atto has no feature1: choose --layers from feature2,feature3,feature4,feature5"
    with pytest.raises(UserError, match=says):
        trunk_source(trunk, voc, SVM, ("feature1", "feature5"))
    assert trunk_source(trunk, voc, SVM, ("feature5",)).layers == ("feature5",)


FIVE_TAPS = (
    "resnet18",
    "wide_resnet50_2",
    "resnext50_32x4d",
    "resnet50w2",
    "vgg11",
    "alexnet",
    "deit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_small_patch16_224_12heads",
)


@pytest.mark.parametrize("arch", FIVE_TAPS)
def test_taps_that_are_known_by_family_are_those_of_the_backbone(arch: str) -> None:
    with torch.device("meta"):
        assert tap_names(arch) == tuple(tap.name for tap in Backbone(arch, sobel=False).taps)


def test_planning_of_common_trunks_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from benchmarks.backbones.taps import tap_names\n"
        "for arch in ('resnet50', 'resnet50w4', 'alexnet', 'vgg16_bn', 'vit_base_patch16_224'):\n"
        "    assert len(tap_names(arch)) == 5\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_both_protocols_share_the_products_of_a_layer(tmp_path: Path) -> None:
    folder = write(tmp_path, make(Recipe(rows=120, test_rows=60)), layers=(3, 5))
    few = {"shots": (1, 2), "samples": 2, "negatives_per_positive": 5}
    low_shot = replace(VOC07_LOW_SHOT, **few)
    source = file_source(tmp_path / "zoo", folder, folder, VOC07_SVM)
    goals = [VocSvm(source, VOC07_SVM), VocLowShot(source, low_shot)]
    fits = [item for item in items_to_run(goals) if item.stage != "collect"]
    layers = [layer for layer, _ in groupby(item.layer for item in fits)]  # type: ignore[attr-defined]
    assert layers == ["feature3", "feature5"]
    assert len(fits) == 6
    _engine.cache_clear()
    run_sweep(goals, Launch())
    assert all(goal.done() for goal in goals)
    assert _engine.cache_info().misses == 2


@pytest.mark.parametrize("command", ["voc_svm", "low_shot_svm"])
def test_svms_of_files_need_no_torch(command: str, tmp_path: Path) -> None:
    """Whose import takes longer than their products."""
    folder = write(tmp_path, make(Recipe(rows=120, test_rows=60)))
    words = ["--features", str(folder), "--labels", str(folder), "--zoo", str(tmp_path / "zoo")]
    words += ["--shots", "1,2"] if command == "low_shot_svm" else []
    code = "import sys; sys.modules['torch'] = None\n"
    code += f"from benchmarks.{command} import main; main(sys.argv[1:])\n"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--device", "auto", "--json", "-"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["made"]["device"] == "CPU"


def test_threads_are_those_asked_for_when_the_trunk_is_a_file(tmp_path: Path, voc: Path) -> None:
    """Planning reads the file, and so imports torch, before the threads are set."""
    backbone = build_backbone("resnet18", sobel=False)
    torch.save(backbone.trunk.state_dict(), tmp_path / "trunk.pth")
    words = ["--ckpt", str(tmp_path / "trunk.pth"), "--data", str(voc), "--layers", "feature5"]
    words += ["--protocol", "digits_voc07_svm", "--device", "cpu", "--workers", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.voc_svm", *words, "--threads", "3", "--json", "-"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["threads"] == 3


def test_half_precision_is_noted_in_both_records(tmp_path: Path, voc: Path) -> None:
    trunk = make_trunk(tmp_path, "random:resnet18")
    for one in (trunk, replace(trunk, precision="amp")):
        full, few = voc_svm_item(one, voc, SVM), low_shot_item(one, voc, LOW_SHOT)
        run_sweep([full, few], Launch())
        records = (
            results.read(full.result, results.VocSvmRecord),
            results.read(few.result, results.LowShotRecord),
        )
        noted = ["half-precision forward" in record.notes for record in records]
        assert noted == [one.precision == "amp"] * 2

"""docs/cluster.md: its TOML is read as the launcher reads it, its tables are the code's."""

import importlib
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.catalog.further.imagenet_attentive import IMAGENET_ATTENTIVE
from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL_LARS
from benchmarks.catalog.listed import PROTOCOLS
from pretrain.deepcluster.recipes import RECIPES
from pretrain.rotation_recipes import RECIPES as ROTATION
from slurm.cli import Parser, add_common_flags
from slurm.scheduler.settings import STAGES, ClusterSettings, read_settings, request_for
from slurm.sweep import Resources
from tests.test_architecture import MODULES
from tests.test_documents import ROOT, rows

PAGE = (ROOT / "docs/cluster.md").read_text()


@pytest.fixture
def settings(tmp_path: Path) -> ClusterSettings:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    return read_settings(path)


def resources() -> dict[str, Resources]:
    """What the items of each stage ask for on a machine with GPUs."""
    found: dict[str, Resources] = {}
    whoever: Any = SimpleNamespace(device="auto")
    whoever.trunk = whoever.source = whoever
    for name, path in MODULES.items():
        if "stage: ClassVar[str]" in path.read_text():
            for member in vars(importlib.import_module(name)).values():
                several = "parts" in getattr(member, "__dataclass_fields__", {})  # ask as each does
                if isinstance(member, type) and member.__module__ == name and not several:
                    stage = getattr(member, "stage", None)
                    asked = getattr(member, "resources", None)
                    if isinstance(asked, property) and asked.fget:
                        asked = asked.fget(whoever)
                    if isinstance(stage, str) and isinstance(asked, Resources):
                        assert found.setdefault(stage, asked) == asked
    return found


def test_the_table_of_stages_is_what_their_items_ask_for() -> None:
    asked = resources()
    assert asked.keys() == set(STAGES)
    table = {row[0].strip("`"): row for row in rows(PAGE) if row[0].strip("`") in STAGES}
    assert table.keys() == asked.keys()
    for stage, (_, _, gpus, minutes, stopped) in table.items():
        wanted = asked[stage]
        assert int(minutes) == wanted.minutes, stage
        assert int(gpus.split()[0]) == wanted.gpus, stage
        assert ("processes" in gpus) == wanted.distributed, stage
        assert ("requeued" in stopped) == wanted.resumable, stage


def test_the_file_has_every_stage_and_asks_for_what_it_says(settings: ClusterSettings) -> None:
    assert settings.stages.keys() == set(STAGES)
    requests = {
        stage: request_for(settings, stage, wanted, 8) for stage, wanted in resources().items()
    }
    probe, pretraining = requests["probe"], requests["pretrain"]
    assert (probe.nodes, probe.tasks_per_node, probe.gpus_per_node) == (1, 4, 4)
    assert (pretraining.nodes, pretraining.tasks_per_node) == (2, 8)
    assert requests["extract"].gpus_per_node == 1
    assert requests["collect"].gpus_per_node == 0
    for stage in ("check", "voc_svm", "low_shot_svm", "collect"):
        assert requests[stage].settings.partition == "cpu"
        assert requests[stage].settings.sbatch == {}  # no node of it has the feature of a GPU
    assert pretraining.settings.sbatch["exclusive"] is True
    assert pretraining.settings.sbatch["constraint"] == "a100&ib"


def test_the_rule_of_the_batch_is_the_protocols() -> None:
    linear = [one for one in PROTOCOLS.values() if hasattr(one, "batch_size")]
    published = [one for one in linear if one.variant != "digits"]
    large = (IMAGENET_AVGPOOL_LARS, IMAGENET_ATTENTIVE)
    assert {one.batch_size for one in published if one not in large} == {256}
    assert IMAGENET_ATTENTIVE.batch_size == IMAGENET_AVGPOOL_LARS.batch_size
    assert RECIPES["vgg16_bn_sobel_b256-200e"].batch_size == 256
    batches = {
        "linear probes": 256,
        "AvgPool and attentive, LARS (`8xb512`)": IMAGENET_AVGPOOL_LARS.batch_size,
        "DeepCluster, Sobel ResNet-50": RECIPES["sobel_resnet50_8xb64-steplr-200e"].batch_size,
        "DeepCluster, AlexNet and VGG-16": RECIPES["alexnet_sobel_b256-500e"].batch_size,
        "rotation prediction, ResNet-50": ROTATION["rotation_resnet50_8xb16-steplr-70e"].batch_size,
    }
    table = {row[0]: row[1:] for row in rows(PAGE) if row[0] in batches}
    for name, batch in batches.items():
        cells = [int(re.match(r"[\d,]+", cell).group().replace(",", "")) for cell in table[name]]  # type: ignore[union-attr]
        assert cells == [batch, batch // 4, batch // 8, batch // 16], name


def test_the_commands_of_the_page_are_commands() -> None:
    """Every flag of the pretraining is one that it takes."""
    from pretrain.deepcluster import command

    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    words = shlex.split(block.replace("\\\n", " ").splitlines()[0])
    assert words[:4] == ["python", "-m", "pretrain", "deepcluster"]
    parser = Parser(prog="x", description="")
    command.add_flags(parser)
    add_common_flags(parser)
    args = parser.parse_args(words[4:])
    assert args.recipe in RECIPES
    assert args.check_images

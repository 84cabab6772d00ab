"""Cluster settings: flags, TOML files, and what a stage asks for in the end."""

import argparse
import re
from pathlib import Path

import pytest

from slurm.cli import Parser, add_common_flags
from slurm.errors import UserError
from slurm.scheduler.settings import (
    STAGES,
    ClusterSettings,
    for_stage,
    read_settings,
    request_for,
    settings_from,
)
from slurm.sweep import Resources

CPU, GPU = Resources(), Resources(gpus=1)
DISTRIBUTED = Resources(gpus=1, distributed=True)


def parse(*flags: str) -> argparse.Namespace:
    parser = Parser(prog="x", description="")
    add_common_flags(parser)
    return parser.parse_args(flags)


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    return path


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = toml(
        tmp_path,
        'partition = "gpu"\ntime = 60\nmem_gb = 8\n[sbatch]\nconstraint = "a100"\nnice = 1\n'
        '[stages.svm]\npartition = "cpu"\ntime = 9\n',
    )
    flags = ("--time", "30", "--sbatch", "nice=7", "--sbatch", "exclude=n1")
    settings = settings_from(parse("--cluster-config", str(path), *flags))
    assert (settings.partition, settings.time, settings.mem_gb) == ("gpu", 30, 8)
    assert settings.sbatch == {"constraint": "a100", "nice": "7", "exclude": "n1"}
    svm = for_stage(settings, "svm")
    assert (svm.partition, svm.time, svm.mem_gb) == ("cpu", 30, 8)
    assert settings.array_parallelism == ClusterSettings().array_parallelism


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partition = 3", "Expected `str"),
        ("partion = 'x'", "unknown setting 'partion'; known: partition"),
        ("time = ", "is not TOML"),
        ("time = 0", "time = 0 is not a whole number from 1"),
        ("[stages.svm]\nmem_gb = -1", "mem_gb = -1"),
        ("[stages.svm]\nfoo = 1", r"\[stages.svm\]: unknown setting 'foo'"),
        ("[sbatch]\njob_name = 'x'", "'job_name' is set by the launcher"),
        ("[sbatch]\nclusters = 'x'", "'clusters' is set by the launcher"),
        ("[sbatch]\nexport = 'NONE'", "'export' is set by the launcher"),
        ("[sbatch]\nntasks = 4", "'ntasks' is set by the launcher"),
        ("[sbatch]\nmem = '4G'", "'mem' is --mem-gb, or mem_gb in the file"),
        ("[sbatch]\ngpus_per_node = 4", "'gpus_per_node' is --gpus-per-node, or gpus_per_node"),
        ("[stages.svm.sbatch]\ntime = 4", "'time' is --time, or time in the file"),
        ("[stages.svm]\nsbatch = 'x'", r"cluster.toml: \[stages.svm\]: Expected `object`"),
        ("[stages]\nsvm = 'x'", r"Expected `object`"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(UserError, match=message):
        settings_from(parse("--cluster-config", str(path)))


def test_the_known_stages_are_those_of_the_commands() -> None:
    from benchmarks.features.extraction import ExtractVoc
    from benchmarks.linear_probe import Probe
    from benchmarks.low_shot_svm import LowShot, VocLowShot
    from benchmarks.voc_svm import VocSvm, VocSvmLayer
    from pretrain.deepcluster.item import Pretrain

    items = (ExtractVoc, VocSvmLayer, VocSvm, LowShot, VocLowShot, Probe, Pretrain)
    assert {item.stage for item in items} == set(STAGES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read --cluster-config .*nowhere.toml: No such"):
        read_settings(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("wanted", "given", "most", "expected"),
    [
        (CPU, None, 8, (1, 1, 0)),
        (CPU, 8, 8, (1, 1, 0)),
        (GPU, None, 8, (1, 1, 1)),
        (GPU, None, 0, (1, 1, 0)),  # a cluster without GPUs runs it on the CPU
        (GPU, 8, 0, (1, 1, 0)),  # a stage on nodes without GPUs, in a sweep that has some
        (GPU, 0, 8, (1, 1, 0)),
        (GPU, 8, 8, (1, 1, 1)),  # one process uses one GPU
        (DISTRIBUTED, 8, 8, (1, 8, 8)),
        (DISTRIBUTED, None, 8, (1, 1, 1)),
        (DISTRIBUTED, 0, 8, (1, 1, 0)),
        (DISTRIBUTED, 9, 8, (1, 9, 9)),  # refused by whoever compares it with the cluster
    ],
)
def test_gpus_and_processes(
    wanted: Resources, given: int | None, most: int, expected: tuple[int, int, int]
) -> None:
    request = request_for(ClusterSettings(gpus_per_node=given), "probe", wanted, most)
    assert (request.nodes, request.tasks_per_node, request.gpus_per_node) == expected


def test_only_distributed_items_take_several_nodes() -> None:
    settings = ClusterSettings(nodes=4)
    assert request_for(settings, "svm", GPU, 1).nodes == 1
    assert request_for(settings, "probe", DISTRIBUTED, 1).nodes == 4


def test_the_settings_in_the_readme_are_read(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", readme, flags=re.DOTALL)
    settings = read_settings(toml(tmp_path, example))
    assert settings.partition == "gpu"
    assert for_stage(settings, "low_shot_svm").partition == "cpu"

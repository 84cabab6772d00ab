"""Cluster settings: flags, TOML files, and what a stage asks for in the end."""

import argparse
import os
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


def test_a_stage_takes_options_of_the_others_away(tmp_path: Path) -> None:
    path = toml(
        tmp_path,
        '[sbatch]\nconstraint = "a100"\ngres-flags = "x"\nexclude = "n1"\n'
        "[stages.svm.sbatch]\nconstraint = false\ngres_flags = false\nexclusive = true\n"
        '[stages.knn.sbatch]\ngres_flags = "y"\n',
    )
    settings = settings_from(parse("--cluster-config", str(path)))
    assert for_stage(settings, "svm").sbatch == {"exclude": "n1", "exclusive": True}
    assert for_stage(settings, "knn").sbatch == {
        "constraint": "a100",
        "exclude": "n1",
        "gres_flags": "y",
    }
    assert for_stage(settings, "probe").sbatch == settings.sbatch
    # A flag is the last word on what an option is, for the stages that take it.
    settings = settings_from(parse("--cluster-config", str(path), "--sbatch=constraint=ib"))
    assert "constraint" not in for_stage(settings, "svm").sbatch
    assert for_stage(settings, "probe").sbatch["constraint"] == "ib"
    settings = settings_from(parse("--cluster-config", str(path), "--sbatch=gres_flags=z"))
    assert "gres_flags" not in for_stage(settings, "svm").sbatch
    assert for_stage(settings, "knn").sbatch["gres_flags"] == "z"


def test_only_what_the_others_have_can_be_taken_away(tmp_path: Path) -> None:
    path = toml(tmp_path, '[sbatch]\nconstraint = "a"\n[stages.svm.sbatch]\nexclude = false\n')
    with pytest.raises(UserError, match=r"\[stages.svm\]: sbatch option exclude = false says noth"):
        read_settings(path)
    path.write_text("[sbatch]\nconstraint = false\n[stages.svm.sbatch]\nconstraint = false\n")
    with pytest.raises(UserError, match=r"toml: sbatch option constraint = false says nothing"):
        read_settings(path)


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
    from benchmarks.features.avgpool import ExtractAvgpool
    from benchmarks.features.extraction import ExtractVoc
    from benchmarks.images.checking import CheckImages
    from benchmarks.knn.item import Knn
    from benchmarks.logreg.item import Logreg
    from benchmarks.probes.item import Probe
    from benchmarks.rehearsal.job import Rehearsal
    from benchmarks.svm.full_item import VocSvm, VocSvmLayer
    from benchmarks.svm.low_shot_item import LowShot, VocLowShot
    from pretrain.deepcluster.item import Pretrain

    svms = (VocSvmLayer, VocSvm, LowShot, VocLowShot)
    quick = (ExtractAvgpool, Knn, Logreg)
    items = (CheckImages, ExtractVoc, *svms, *quick, Probe, Pretrain, Rehearsal)
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


# Each with a setting, or a value, that no cluster can have; on every level where it may stand.
ABSURD = (
    ("time = 0", "time = 0"),
    ("time = -5", "time = -5"),
    ("time = 99999999999999999999", r"time = 9+"),
    ("time = 1e9", r"time = 1000000000\.0"),
    ("time = inf", "time = inf"),
    ("time = nan", "time = nan"),
    ("time = true", "time = True"),
    ("time = '4h'", "time = '4h'"),
    ("time = 2026-01-01", "time = datetime"),
    ("time = 10_000_000", "time = 10000000 is absurd; the most is 527040"),
    ("nodes = 1_000_000", "nodes = 1000000 is absurd"),
    ("gpus_per_node = -1", "gpus_per_node = -1"),
    ("gpus_per_node = 8000", "gpus_per_node = 8000 is absurd"),
    ("cpus_per_task = 100_000", "cpus_per_task = 100000 is absurd"),
    ("mem_gb = 0", "mem_gb = 0"),
    ("mem_gb = 68719476736", "mem_gb = 68719476736 is absurd"),
    ("array_parallelism = 0", "array_parallelism = 0"),
    ("array_parallelism = [1]", r"array_parallelism = \[1\]"),
    ("partition = ''", "partition = ''"),
    ("partition = 'a b'", "partition = 'a b'"),
    ('partition = "a\\n#SBATCH --wrap=x"', r"partition = 'a\\n#SBATCH"),
    ("account = '--help'", "account = '--help'"),
    ('qos = "\\u0000"', r"qos = '\\x00'"),
    ("prtition = 'gpu'", "unknown setting 'prtition'"),
    ("'' = 1", "unknown setting ''"),
    ("sbatch = {'a b' = 1}", "sbatch option 'a b'"),
    ("sbatch = {'' = 1}", "sbatch option ''"),
    ('sbatch = {constraint = "a\\nb"}', r"sbatch option constraint = 'a\\nb'"),
    ("sbatch = {constraint = ''}", "sbatch option constraint = ''"),
    ("sbatch = {constraint = [1]}", "constraint"),
    ("sbatch = {G = 8}", "sbatch option 'G' is not the long name of an option"),
    ("qos = 'a'\nsbatch = {qos = 'b'}", "qos = a and sbatch option qos = 'b': leave one out"),
    ("time = 04:00:00", r"in time = datetime.time\(4, 0\); write whole minutes"),
    ("sbatch = {exclusive = false}", "exclusive = false says nothing: leave it out"),
)


@pytest.mark.parametrize("table", ["", "[stages.probe]\n"])
@pytest.mark.parametrize(("line", "message"), ABSURD)
def test_what_no_cluster_has_is_named_with_its_file(
    tmp_path: Path, table: str, line: str, message: str
) -> None:
    path = toml(tmp_path, table + line + "\n")
    with pytest.raises(UserError, match=message) as caught:
        settings_from(parse("--cluster-config", str(path)))
    assert str(path) in str(caught.value)
    assert ("[stages.probe]" in str(caught.value)) == bool(table)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "flags",
    [
        ("--time", "999999999"),
        ("--nodes", "999999999"),
        ("--partition", ""),
        ("--account", "a b"),
        ("--sbatch", "constraint=a\nb"),
        ("--sbatch", "a b=c"),
    ],
)
def test_flags_have_the_same_bounds(flags: tuple[str, str]) -> None:
    with pytest.raises(UserError, match=r"^the flags: "):
        settings_from(parse(*flags))


@pytest.mark.parametrize(
    "flags",
    [
        ("--sbatch=--constraint=a100&ib", "--sbatch=exclusive=true"),
        ("--sbatch=constraint=a100&ib", "--sbatch=--exclusive=true"),
        ("--sbatch", "constraint=a100&ib", "--sbatch", "exclusive=true"),
    ],
)
def test_every_way_to_write_an_option_of_sbatch_is_the_same(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    wanted = {"constraint": "a100&ib", "exclusive": True}
    assert settings_from(parse(*flags)).sbatch == wanted
    path = toml(tmp_path, '[sbatch]\nconstraint = "a100&ib"\nexclusive = true\n')
    assert settings_from(parse("--cluster-config", str(path))).sbatch == wanted


@pytest.mark.parametrize("words", [("--sbatch", "--constraint=a100"), ("--sbatch",)])
def test_an_option_that_argparse_takes_for_a_flag_is_told_how_to_write(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*words)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "write one that begins with dashes as --sbatch=KEY=VALUE" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"a = " + b"[" * 20_000,
        b"a = " + b"[" * 3000 + b"]" * 3000,
        b"[stages]\nprobe = " + b"{a=" * 400 + b"1" + b"}" * 400,
        b".".join([b"a"] * 5000) + b" = 1",
        b"\xff\xfe",
        b"\0",
        b"PK\x03\x04",
        b'{"time": 3}',
    ],
)
def test_a_file_of_something_else_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cluster.toml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_settings(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "loop", "long"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    path = {"device": Path("/dev/zero"), "long": tmp_path / ("x" * 300)}.get(kind, path)
    with pytest.raises(UserError, match=f"cannot read --cluster-config {re.escape(str(path))}: "):
        read_settings(path)


def test_a_byte_order_mark_is_no_part_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_bytes(b'\xef\xbb\xbfpartition = "gpu"\n')
    assert read_settings(path).partition == "gpu"

"""`run_sweep` in this process, and in several that torchrun started."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slurm.cli import Parser, add_common_flags
from slurm.errors import SweepError, UserError
from slurm.executor import Launch, launch_from, run_sweep
from slurm.launch.requests import describe_requests
from slurm.scheduler.settings import ClusterSettings
from slurm.sweep import Resources, Stage
from tests import processes
from tests.slurm.items import Broken, Misused, Number, starts

ROOT = Path(__file__).parents[2]


def inline(*goals: Number) -> None:
    run_sweep(goals, Launch("inline"))


def test_the_rest_runs_when_one_item_fails(tmp_path: Path) -> None:
    broken = Broken(tmp_path, "broken")
    blocked = Number(tmp_path, "blocked", (broken,))
    other = Number(tmp_path, "other")
    with pytest.raises(SweepError, match="this item is broken in two lines") as caught:
        inline(blocked, other)
    assert [key.split("/")[1] for key in caught.value.failures] == ["broken", "blocked"]
    assert other.done()
    assert starts(blocked.result) == 0


def test_one_mistake_of_the_user_is_raised_as_it_is(tmp_path: Path) -> None:
    misused = Misused(tmp_path, "misused")
    with pytest.raises(UserError, match="the data folder is empty"):
        inline(Number(tmp_path, "blocked", (misused,)), Misused(tmp_path, "again"))


def test_what_only_finished_items_need_is_not_computed(tmp_path: Path) -> None:
    need = Number(tmp_path, "need")
    goal = Number(tmp_path, "goal", (need,))
    inline(goal)
    need.result.unlink()
    inline(goal)
    assert starts(need.result) == 1


PROGRAM = """
import os, sys
from dataclasses import dataclass, replace
from pathlib import Path
from slurm.cli import run_command
from slurm.distributed import broadcast_object, find_world, process_group
from slurm.executor import Launch, launch_from, run_sweep
from slurm.launch.requests import describe_requests
from slurm.scheduler.settings import ClusterSettings
from slurm.sweep import Resources, Stage
from slurm.sweep import Resources
from tests import processes
from tests.slurm.items import Broken, Number

@dataclass(frozen=True)
class Together(Number):
    def run(self):
        import torch
        with process_group(find_world(), torch.device("cpu")):
            assert broadcast_object(os.environ["RANK"]) == "0"
        with (self.folder / f"{self.name}.ranks").open("a") as file:
            file.write(os.environ["RANK"])
        if os.environ["RANK"] == "0":
            super().run()

folder = Path(sys.argv[1])
alone = Number(folder, "alone")
both = Together(folder, "both", (alone,), resources=Resources(distributed=True))
goals = [Number(folder, "last", (both, Together(folder, "done", resources=both.resources)))]
# One process is late and finds a result that the other, which decides, did not.
if os.environ["RANK"] == "1":
    done = Number.done
    Number.done = lambda item: item.name == "both" or done(item)
run_command(lambda argv: run_sweep(goals, Launch("inline")))
"""


def test_torchrun_processes_agree_on_what_runs(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = Number(tmp_path / "a", "done")
    done.run()
    ended = processes.run(program, tmp_path / "a", processes=2, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "a" / "last.txt").exists()
    assert sorted((tmp_path / "a" / "both.ranks").read_text()) == ["0", "1"]
    assert not (tmp_path / "a" / "done.ranks").exists()
    assert starts(tmp_path / "a" / "alone.txt") == 1


def program(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.slurm.real.program", "chain", str(folder / "results")]
    return subprocess.run(
        [*command, "--zoo", str(folder / "zoo"), *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_dry_run_says_what_slurm_would_be_asked_for(tmp_path: Path) -> None:
    """Without a SLURM on this machine, and without leaving anything."""
    config = tmp_path / "cluster.toml"
    config.write_text('partition = "gpu"\ntime = 60\n[stages.fit]\npartition = "cpu"\nmem_gb = 7\n')
    flags = ("--cluster-config", str(config), "--dry-run", "--sbatch", "constraint=a100")
    done = program(tmp_path, "--cluster", "slurm", *flags)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    asked = [line for line in lines if "--partition" in line]
    assert asked == [
        "  extract: 3 task(s), at most 256 at once: --partition=gpu --time=60 --nodes=1 "
        "--ntasks-per-node=1 --constraint=a100",
        "  fit: 6 task(s), at most 256 at once: --partition=cpu --time=60 --nodes=1 "
        "--ntasks-per-node=1 --mem=7GB --constraint=a100",
        "  table: 1 task(s), at most 256 at once: --partition=gpu --time=60 --nodes=1 "
        "--ntasks-per-node=1 --constraint=a100",
    ]
    assert lines[-2] == "in all 10 task(s), and 0 GPU-hours if each took all of its time"
    assert lines[-1].startswith("not asked: SLURM itself")
    assert not (tmp_path / "zoo").exists()


def test_a_dry_run_shows_what_a_stage_takes_away(tmp_path: Path) -> None:
    config = tmp_path / "cluster.toml"
    config.write_text(
        'partition = "gpu"\n[sbatch]\nconstraint = "a100&ib"\nexclude = "n1"\n'
        '[stages.fit]\npartition = "cpu"\nsbatch = {constraint = false, exclude = false}\n'
    )
    done = program(tmp_path, "--cluster", "slurm", "--cluster-config", str(config), "--dry-run")
    assert done.returncode == 0, done.stderr
    asked = [line.split() for line in done.stdout.splitlines() if "--partition" in line]
    assert {
        line[0]: [word for word in line if "--c" in word or "--ex" in word] for line in asked
    } == {
        "extract:": ["--constraint=a100&ib", "--exclude=n1"],
        "fit:": [],
        "table:": ["--constraint=a100&ib", "--exclude=n1"],
    }


def test_gpu_hours_are_those_of_all_tasks_and_nodes() -> None:
    settings = ClusterSettings(gpus_per_node=4, nodes=2, time=90)
    wide, narrow = Resources(gpus=1, distributed=True), Resources(gpus=1, minutes=30)
    items: Any = ("a", "b", "c")
    stages = [Stage("probe", wide, items), Stage("extract", narrow, items[:2])]
    text = describe_requests(settings, stages)  # 3 x 8 x 1.5 h, and 2 x 1 x 1.5 h
    assert "in all 5 task(s), and 39 GPU-hours" in text


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[stages.extrct]\ntime = 3",
            "unknown stage in {}: 'extrct'; did you mean extract? known: table, fit, extract, "
            "check, voc_svm, low_shot_svm, probe, collect, pretrain, features, knn, logreg, "
            "rehearse",
        ),
        ("time = 10_000_000", "{}: time = 10000000 is absurd; the most is 527040"),
    ],
)
def test_settings_are_checked_before_anything_runs(
    tmp_path: Path, text: str, line: str, dry: bool
) -> None:
    config = tmp_path / "cluster.toml"
    config.write_text(text)
    flags = ["--cluster-config", str(config), *["--dry-run"] * dry]
    done = program(tmp_path, "--cluster", "slurm", *flags)
    assert done.returncode == 2
    assert done.stderr == f"error: {line.format(config)}\n"
    assert not done.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--partition gpu", "--partition: of --cluster slurm alone, and --cluster inline would "),
        ("--detach", "--detach: of --cluster slurm alone"),
        ("--gpus-per-node 0", "--gpus-per-node: of --cluster slurm alone"),
        ("--sbatch constraint=a100", "--sbatch: of --cluster slurm alone"),
        ("--cluster-config no.toml", "--cluster-config: of --cluster slurm alone"),
        ("--time 3 --mem-gb 7", "--mem-gb and --time: of --cluster slurm alone"),
        ("--cluster local --qos a", "--qos: of --cluster slurm alone, and --cluster local would"),
    ],
)
def test_flags_of_a_cluster_that_is_not_asked_for(flags: str, says: str) -> None:
    """They would do nothing, and a login node would compute."""
    parser = Parser(prog="x", description="")
    add_common_flags(parser)
    with pytest.raises(UserError, match=f"^{says}"):
        launch_from(parser.parse_args(flags.split()))


@pytest.mark.parametrize(
    ("flags", "note"),
    [
        ("--jobs 4", "note: --jobs does nothing with --cluster inline, but with --cluster local"),
        ("--cluster slurm --jobs 4", "note: --jobs does nothing with --cluster slurm, but "),
        ("--cluster local --jobs 4", ""),
        ("", ""),
    ],
)
def test_jobs_of_another_cluster_are_noted(
    flags: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="x", description="")
    add_common_flags(parser)
    launch_from(parser.parse_args(flags.split()))
    said = capsys.readouterr().err
    assert said.startswith(note)
    assert bool(said) is bool(note)


def test_jobs_are_two_where_none_are_named() -> None:
    parser = Parser(prog="x", description="")
    add_common_flags(parser)
    assert launch_from(parser.parse_args(["--cluster", "local"])).jobs == 2
    assert launch_from(parser.parse_args(["--cluster", "local", "--jobs", "3"])).jobs == 3
    slurm = launch_from(parser.parse_args(["--cluster", "slurm", "--time", "3", "--detach"]))
    assert (slurm.settings.time, slurm.detach) == (3, True)

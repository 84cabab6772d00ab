"""What a user says about a SLURM cluster: flags, or a small TOML file with the same names.

    partition = "gpu"
    time = 240                # minutes
    gpus_per_node = 8
    array_parallelism = 32
    [sbatch]                  # anything else that sbatch knows
    constraint = "a100"
    [stages.voc_svm]          # other settings for one stage of a sweep
    partition = "cpu"
    cpus_per_task = 4

A flag wins over the file; a stage's own table wins over the rest of the file.
"""

import argparse
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from slurm.errors import UserError
from slurm.sweep import Resources

# The stages of this project's commands, so that one file can serve several of them.
STAGES = ("extract", "voc_svm", "low_shot_svm", "probe", "collect", "pretrain")
# Of sbatch's options, those that the launcher itself relies on, and those that have a flag here.
RESERVED = (
    *("array", "comment", "dependency", "error", "job-name", "open-mode", "output", "signal"),
    *("chdir", "clusters", "export", "no-requeue", "ntasks", "ntasks-per-node", "wrap"),
)
FLAGS = {
    "partition": "--partition",
    "time": "--time",
    "nodes": "--nodes",
    "gpus-per-node": "--gpus-per-node",
    "cpus-per-task": "--cpus-per-task",
    "mem": "--mem-gb",
}


@dataclass(frozen=True)
class ClusterSettings:
    """Settings of one sweep on SLURM; None leaves the choice to the cluster or to the item."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodes: int | None = None  # of distributed items
    gpus_per_node: int | None = None  # of distributed items, one process each; others take one
    cpus_per_task: int | None = None
    mem_gb: int | None = None  # per node
    time: int | None = None  # minutes; None: what the item asks for
    array_parallelism: int = 256  # tasks of an array that run at once
    sbatch: dict[str, str | int] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What one array asks of SLURM for each task."""

    nodes: int
    tasks_per_node: int
    gpus_per_node: int
    minutes: int
    settings: ClusterSettings  # of the stage


def settings_from(args: argparse.Namespace) -> ClusterSettings:
    """The settings that the flags of `slurm.cli.add_launch_flags` and their TOML file describe."""
    base = read_settings(args.cluster_config) if args.cluster_config else ClusterSettings()
    names = [item.name for item in fields(ClusterSettings) if item.name not in ("sbatch", "stages")]
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    sbatch = base.sbatch | dict(_pair(text) for text in args.sbatch or [])
    # A flag is the user's last word, so it also wins over the table of a stage.
    stages = {
        stage: {key: value for key, value in table.items() if key not in given}
        for stage, table in base.stages.items()
    }
    return check_settings(replace(base, **given, sbatch=sbatch, stages=stages), "the flags")


def read_settings(path: Path) -> ClusterSettings:
    """The settings in a TOML file; `UserError` names the file and the key that is wrong."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read --cluster-config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    return check_settings(_convert(table, str(path)), str(path))


def check_settings(settings: ClusterSettings, where: str) -> ClusterSettings:
    """Return `settings` if nothing in them is out of range; else raise `UserError`."""
    for name, table in settings.stages.items():
        _convert(table, f"{where}: [stages.{name}]")
    for stage in (None, *settings.stages):
        resolved = for_stage(settings, stage) if stage else settings
        for name in ("nodes", "cpus_per_task", "mem_gb", "time", "array_parallelism"):
            value = getattr(resolved, name)
            if value is not None and value < 1:
                raise UserError(f"{where}: {name} = {value} is not a whole number from 1")
        if (resolved.gpus_per_node or 0) < 0:
            raise UserError(f"{where}: gpus_per_node is below 0")
        for key in resolved.sbatch:
            option = key.replace("_", "-")
            if option in FLAGS:
                flag = FLAGS[option]
                name = flag.lstrip("-").replace("-", "_")
                raise UserError(f"{where}: sbatch option {key!r} is {flag}, or {name} in the file")
            if option in RESERVED:
                raise UserError(f"{where}: sbatch option {key!r} is set by the launcher; remove it")
    return settings


def for_stage(settings: ClusterSettings, stage: str) -> ClusterSettings:
    """The settings of one stage: its own table over the rest."""
    table = settings.stages.get(stage, {})
    merged = asdict(replace(settings, stages={})) | table
    merged["sbatch"] = settings.sbatch | table.get("sbatch", {})
    return _convert(merged, f"[stages.{stage}]")


def request_for(settings: ClusterSettings, stage: str, wanted: Resources, most: int) -> Request:
    """What a task of `stage` asks for, where no node has more than `most` GPUs.

    An item that would use a GPU runs without on nodes that have none. Only the `gpus_per_node`
    of a distributed item is asked for as it is, and refused where there are not as many.
    """
    own = for_stage(settings, stage)
    given = own.gpus_per_node
    gpus = min(wanted.gpus, most)
    if given is not None and wanted.gpus:
        gpus = given if wanted.distributed else min(given, gpus)
    nodes, tasks = wanted.nodes, wanted.tasks_per_node
    if wanted.distributed:
        nodes = own.nodes or nodes
        tasks = max(tasks, gpus)
    return Request(nodes, tasks, gpus, own.time or wanted.minutes, own)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.lstrip("-").partition("=")
    if not key or not equals:
        raise UserError(f"--sbatch {text}: write KEY=VALUE, such as constraint=a100")
    return key, value


def _convert(table: dict[str, Any], where: str) -> ClusterSettings:
    known = [item.name for item in fields(ClusterSettings)]
    unknown = next((key for key in table if key not in known), None)
    if unknown:
        raise UserError(f"{where}: unknown setting {unknown!r}; known: {', '.join(known)}")
    try:
        return msgspec.convert(table, ClusterSettings)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {error}") from None

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
    [stages.voc_svm.sbatch]
    constraint = false        # false takes away what [sbatch] has for the others

A flag wins over the file; a stage's own table wins over the rest of the file.
"""

import argparse
import re
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from slurm.cli import choose
from slurm.errors import UserError
from slurm.files import read_regular, refuse_pointer
from slurm.sweep import Item, Resources, all_items

# The stages of this project's commands, so that one file can serve several of them.
STAGES = (
    *("check", "extract", "voc_svm", "low_shot_svm", "probe", "collect", "pretrain"),
    *("features", "knn", "logreg", "rehearse"),
)
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
# The most that is no slip of the finger, for any cluster there is.
MOST = {
    "nodes": 100_000,
    "gpus_per_node": 256,
    "cpus_per_task": 4_096,
    "mem_gb": 1_000_000,
    "time": 366 * 24 * 60,
    "array_parallelism": 4_000_000,
}
Options = dict[str, str | int | bool]  # of sbatch, by name
_NAME = re.compile(r"[^\s\x00-\x1f\x7f\"'#-][^\s\x00-\x1f\x7f\"'#]*")
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


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
    # true: without a value; false in a stage's table: not at all
    sbatch: Options = field(default_factory=dict)
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
    options: Options = dict(_pair(text) for text in args.sbatch or [])
    sbatch = _merged(base.sbatch, options)
    # A flag is the user's last word, so it also wins over the table of a stage, but for what a
    # stage does not take at all.
    stages = {
        stage: {
            key: _taken_away(value) | _without(value, options) if key == "sbatch" else value
            for key, value in table.items()
            if key not in given
        }
        for stage, table in base.stages.items()
    }
    return check_settings(replace(base, **given, sbatch=sbatch, stages=stages), "the flags")


def read_settings(path: Path) -> ClusterSettings:
    """The settings in a TOML file; `UserError` names the file and the key that is wrong."""
    try:
        content = read_regular(path)
        refuse_pointer(path, content)
        table = tomllib.loads(content.decode("utf-8-sig"))
        return check_settings(_convert(table, str(path)), str(path))
    except OSError as error:
        raise UserError(f"cannot read --cluster-config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise UserError(f"{path} nests tables or lists too deeply for settings") from None


def check_settings(settings: ClusterSettings, where: str) -> ClusterSettings:
    """Return `settings` if nothing in them is out of range; else raise `UserError`."""
    for name, table in settings.stages.items():
        place = f"{where}: [stages.{name}]"
        if "stages" in table:
            raise UserError(f"{place}: unknown setting 'stages'; a stage has no stages")
        _check_values(_convert(table, place), place, settings.sbatch)
    _check_values(settings, where)
    return settings


def check_stages(settings: ClusterSettings, goals: Sequence[Item], where: str) -> None:
    """`UserError` when a table of `settings` is for a stage of no command and of no goal."""
    if settings.stages:
        known = dict.fromkeys([*(item.stage for item in all_items(goals).values()), *STAGES])
        for name in settings.stages:
            choose(name, known, f"stage in {where}:")


def _check_values(own: ClusterSettings, where: str, above: Options | None = None) -> None:
    """`above` are the options of sbatch that the table of a stage can take away."""
    for name, most in MOST.items():
        value = getattr(own, name)
        least = 0 if name == "gpus_per_node" else 1
        if value is not None and value < least:
            raise UserError(f"{where}: {name} = {value} is not a whole number from {least}")
        if value is not None and value > most:
            raise UserError(f"{where}: {name} = {value} is absurd; the most is {most}")
    for name in ("partition", "account", "qos"):
        value = getattr(own, name)
        if value is not None and not _NAME.fullmatch(value):
            raise UserError(f"{where}: {name} = {_shown(value)} is not a name that SLURM can have")
    for key, value in own.sbatch.items():
        option = _option(key)
        if not _OPTION.fullmatch(key) or len(key) == 1:
            raise UserError(
                f"{where}: sbatch option {_shown(key)} is not the long name of an option, such as "
                "constraint"
            )
        if option in FLAGS:
            flag = FLAGS[option]
            name = flag.lstrip("-").replace("-", "_")
            raise UserError(f"{where}: sbatch option {key!r} is {flag}, or {name} in the file")
        if option in RESERVED:
            raise UserError(f"{where}: sbatch option {key!r} is set by the launcher; remove it")
        if value is False:
            if option in map(_option, above or ()):
                continue
            raise UserError(f"{where}: sbatch option {key} = false says nothing: leave it out")
        if option in ("account", "qos") and getattr(own, option) not in (None, value):
            raise UserError(
                f"{where}: {option} = {getattr(own, option)} and sbatch option {option} = "
                f"{_shown(value)}: leave one out"
            )
        if not str(value).isprintable() or not str(value).strip() or len(str(value)) > 1000:
            raise UserError(
                f"{where}: sbatch option {key} = {_shown(value)} is not one line of text"
            )


def for_stage(settings: ClusterSettings, stage: str) -> ClusterSettings:
    """The settings of one stage: its own table over the rest."""
    table = settings.stages.get(stage, {})
    merged = asdict(replace(settings, stages={})) | table
    options = _merged(settings.sbatch, table.get("sbatch", {}))
    merged["sbatch"] = {key: value for key, value in options.items() if value is not False}
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


def _merged(options: Options, over: Options) -> Options:
    """`options` with those of `over` in the place of their own, however both are spelled."""
    return _without(options, over) | over


def _without(options: Options, others: Options) -> Options:
    named = set(map(_option, others))
    return {key: value for key, value in options.items() if _option(key) not in named}


def _taken_away(options: Options) -> Options:
    return {key: value for key, value in options.items() if value is False}


def _option(key: str) -> str:
    """The option of sbatch, as its manual spells it."""
    return key.replace("_", "-")


def _pair(text: str) -> tuple[str, str | bool]:
    key, equals, value = text.lstrip("-").partition("=")
    if not key or not equals:
        raise UserError(
            f"--sbatch {text}: write KEY=VALUE, such as constraint=a100, and KEY=true for an "
            "option without a value"
        )
    return key, value if value != "true" else True


def _convert(table: dict[str, Any], where: str) -> ClusterSettings:
    known = [item.name for item in fields(ClusterSettings)]
    unknown = next((key for key in table if key not in known), None)
    if unknown is not None:
        name = _shown(unknown)
        raise UserError(f"{where}: unknown setting {name}; known: {', '.join(known)}")
    for key, value in table.items():
        try:
            msgspec.convert({key: value}, ClusterSettings)
        except msgspec.ValidationError as error:
            hint = "; write whole minutes" if key == "time" else ""
            raise UserError(f"{where}: {error}, in {key} = {_shown(value)}{hint}") from None
    return msgspec.convert(table, ClusterSettings)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."

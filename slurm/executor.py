"""Where the items of a sweep run: in this process, in processes of this machine, or on SLURM."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import msgspec

from slurm.distributed import find_world
from slurm.errors import UserError
from slurm.failures import Failure, blocked_by, failure_of, raise_failures
from slurm.outputs import write_json
from slurm.progress import say
from slurm.scheduler.settings import (
    MOST,
    ClusterSettings,
    check_stages,
    request_for,
    settings_from,
)
from slurm.stop import Stopped
from slurm.sweep import (
    Item,
    check_result,
    describe,
    items_to_run,
    missing_stages,
    must_run,
    planned,
)
from slurm.tasks.agreement import end_together, run_agreed, started_by_torchrun
from slurm.threads import thread_variables

Cluster = Literal["inline", "local", "slurm"]


@dataclass(frozen=True)
class Launch:
    """How a sweep is launched."""

    cluster: Cluster = "inline"
    jobs: int = 2  # local: processes at once
    threads: int | None = None  # CPU threads per process; None: all cores, or cores / jobs
    logs: Path = Path("zoo/logs")  # local: a file per item
    runs: Path = Path("zoo/runs")  # slurm: a folder per sweep
    settings: ClusterSettings = field(default_factory=ClusterSettings)
    detach: bool = False  # slurm: return when all is submitted
    config: Path | None = None  # the file in which some of `settings` stand


def run_sweep(goals: Sequence[Item], launch: Launch) -> None:
    """Run what `goals` still need.

    Every item that can run is run, also after another one failed. Failures that are one mistake
    of the user are raised as that `UserError`, others as `SweepError`.
    """
    _check_plan(goals, launch)
    if launch.cluster == "local":
        from slurm.launch.local import run_local

        run_local(goals, launch.jobs, launch.threads, launch.logs)
    elif launch.cluster == "slurm":
        from slurm.launch.launcher import run_slurm

        run_slurm(goals, launch.runs, launch.settings, threads=launch.threads, detach=launch.detach)
    else:
        _run_inline(goals)


def dry_run(goals: Sequence[Item], launch: Launch, json: str | None = None) -> None:
    """Say what would run, and with `--cluster slurm` what it would ask for; run nothing.

    `json` is what `--json` names: it gets the plan as JSON, and standard output nothing else.
    """
    _check_plan(goals, launch)
    stages = missing_stages(goals)
    if not find_world().first:
        return
    text = describe(goals, stages)
    if launch.cluster == "slurm" and stages:
        from slurm.launch.requests import describe_requests

        text = f"{text}\n{describe_requests(launch.settings, stages)}"
    if json:
        content = msgspec.json.format(msgspec.json.encode(planned(goals, stages)), indent=1)
        write_json(json, content + b"\n")
    print(text, file=sys.stderr if json == "-" else sys.stdout)


def _check_plan(goals: Sequence[Item], launch: Launch) -> None:
    """`UserError` for what can be known before anything runs, or is said to be about to."""
    check_stages(launch.settings, goals, str(launch.config or "the cluster settings"))
    for item in goals:
        images = getattr(item, "batch", 0)  # of a step, if its processes must share them equally
        processes = _processes(item, launch) if images else 1
        if processes > 1 and images % processes and not item.done():
            raise UserError(
                f"{item.key}: {processes} processes cannot share its batches of {images} images "
                "equally; use a divisor of that many"
            )


def _processes(item: Item, launch: Launch) -> int:
    """In how many processes an item will run, where the nodes have the GPUs that are asked for."""
    if not item.resources.distributed or launch.cluster == "local":
        return 1
    if launch.cluster == "inline":
        return find_world().size
    most = MOST["gpus_per_node"]
    request = request_for(launch.settings, item.stage, item.resources, most)
    return request.nodes * request.tasks_per_node


def _run_inline(goals: Sequence[Item]) -> None:
    if started_by_torchrun():
        failures = run_agreed(goals, _attempt)
        if failures:
            end_together(failures.values())
        return
    failures = {}
    for item in items_to_run(goals):
        failure = _attempt(item, failures)
        if failure is not None:
            failures[item.key] = failure
    raise_failures(failures.values())


def _attempt(
    item: Item,
    failures: dict[str, Failure],
    announce: Callable[[bool], None] = lambda starts: None,
) -> Failure | None:
    """Run `item` unless what it needs is among `failures`; why it failed, or None.

    `announce` is called once, with whether `item` will run, before it does.
    """
    blocking = next((need.key for need in item.needs if need.key in failures), None)
    if blocking is not None:
        announce(False)
        return blocked_by(item.key, blocking)
    announced = False
    try:
        starts = must_run(item)
        announced = True
        announce(starts)
        if starts:
            item.run()
            check_result(item)
    except Stopped:
        raise
    except Exception as error:
        if not announced:
            announce(False)
        failure = failure_of(item.key, error)
        if not failure.mendable:
            say(traceback.format_exc())
        return failure
    return None


def _check_cluster(args: argparse.Namespace) -> None:
    """`UserError` for flags of SLURM without it: a login node is no place to find that out."""
    if args.jobs is not None and args.cluster != "local" and find_world().first:
        say(f"note: --jobs does nothing with --cluster {args.cluster}, but with --cluster local")
    if args.cluster == "slurm":
        return
    of_slurm = [one.name for one in fields(ClusterSettings) if one.name != "stages"]
    values = {name: getattr(args, name) for name in (*of_slurm, "cluster_config", "detach")}
    given = [name for name, value in values.items() if value is not None and value is not False]
    if given:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(
            f"{flags}: of --cluster slurm alone, and --cluster {args.cluster} would compute on "
            f"this machine: add --cluster slurm, or leave {flags} out"
        )


def launch_from(args: argparse.Namespace) -> Launch:
    """The launch that the flags of `slurm.cli.add_common_flags` describe.

    With `--cluster inline` this process is the one that computes: its threads are set here, also
    when torch is there already, as it is once a checkpoint file was read. Raises `UserError` for
    flags of a cluster that is not asked for.
    """
    _check_cluster(args)
    if args.cluster == "inline" and args.threads is not None:
        os.environ.update(thread_variables(args.threads))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(args.threads)
    return Launch(
        args.cluster,
        args.jobs or Launch.jobs,
        args.threads,
        logs=args.zoo / "logs",
        runs=args.zoo / "runs",
        settings=settings_from(args),
        detach=args.detach,
        config=args.cluster_config,
    )

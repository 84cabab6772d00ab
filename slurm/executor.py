"""Where the items of a sweep run: in this process, in processes of this machine, or on SLURM."""

import argparse
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slurm.errors import SweepError, UserError
from slurm.progress import say
from slurm.sweep import Item, missing_stages, run_item

Cluster = Literal["inline", "local", "slurm"]


@dataclass(frozen=True)
class Launch:
    """How a sweep is launched."""

    cluster: Cluster = "inline"
    jobs: int = 2  # local: processes at once
    threads: int | None = None  # CPU threads per process; None: all cores, or cores / jobs
    logs: Path = Path("zoo/logs")


def run_sweep(goals: Sequence[Item], launch: Launch) -> None:
    """Run what `goals` still need.

    Every item that can run is run, also after another one failed. A single failure that is the
    user's mistake is raised as it is; several failures raise `SweepError`.
    """
    if launch.cluster != "inline":
        raise UserError(f"--cluster {launch.cluster} is not available yet; use --cluster inline")
    _run_inline(goals)


def _run_inline(goals: Sequence[Item]) -> None:
    failures: dict[str, Exception] = {}
    for stage in missing_stages(goals):
        for item in stage.items:
            blocked = [need.key for need in item.needs if need.key in failures]
            if blocked:
                failures[item.key] = RuntimeError(f"needs {blocked[0]}, which failed")
                continue
            try:
                run_item(item)
            except (UserError, OSError, RuntimeError, ValueError, MemoryError) as error:
                if not isinstance(error, UserError):
                    say(traceback.format_exc())
                failures[item.key] = error
    roots = [error for error in failures.values() if not str(error).startswith("needs ")]
    if len({str(error) for error in roots}) == 1:
        raise roots[0]
    if failures:
        raise SweepError({key: str(error) for key, error in failures.items()})


def launch_from(args: argparse.Namespace) -> Launch:
    """The launch that the flags of `slurm.cli.add_common_flags` describe."""
    return Launch(args.cluster, args.jobs, args.threads, args.zoo / "logs")

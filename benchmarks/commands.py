"""The end that every benchmark command shares: plan, run, and show the records."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks import results
from benchmarks.images.checking import CheckImages
from slurm.distributed import find_world
from slurm.errors import one_line
from slurm.executor import dry_run, launch_from, run_sweep
from slurm.files import check_writable
from slurm.outputs import write_output
from slurm.streams import write_stdout
from slurm.sweep import Item, all_items


class Goal(Item, Protocol):
    """An item that leaves a result record."""

    @property
    def result(self) -> Path:
        """The record."""


def finish_command(
    args: argparse.Namespace, goals: Sequence[Goal], work: Sequence[Item] | None = None
) -> None:
    """Run what the goals miss (or say what that is), then write `--json` and a summary line.

    `work` are the items to run where they are not the goals themselves but lead to them.
    """
    work = goals if work is None else work
    speaks = find_world().first
    launch = launch_from(args)
    if args.dry_run:
        if speaks:
            print(dry_run(work, launch))
        return
    checks = checks_of(goals)
    if not all(item.done() for item in (*checks, *goals)):  # else a read-only zoo will do
        check_writable(args.zoo)
    run_sweep([*checks, *work], launch)
    if not speaks or args.detach:
        return
    records = [goal.result for goal in goals]
    if args.json:
        contents = [path.read_bytes().rstrip(b"\n") for path in records]
        content = contents[0] if len(contents) == 1 else b"[" + b",\n".join(contents) + b"]"
        if args.json == "-":
            write_stdout(content + b"\n")
        else:
            write_output(Path(args.json), content + b"\n")
    for path in records:
        print(one_line(f"{summary(results.read_record(path))} [{path}]"), file=sys.stderr)


def checks_of(goals: Sequence[Item]) -> list[Item]:
    """The checks of images that goals need: asked for, they run though all else is done."""
    return [item for item in all_items(goals).values() if item.stage == CheckImages.stage]


def summary(record: results.Record) -> str:
    """One line of a record's figures."""
    head, cells = f"{record.checkpoint.name} {record.benchmark}", []
    if isinstance(record, results.ProbeRecord):
        cells = [f"{tap} {head.top1:.2f}" for tap, head in record.heads.items()]
    elif isinstance(record, results.VocSvmRecord):
        cells = [f"{tap} {layer.map:.2f}" for tap, layer in record.layers.items()]
        cells.append(f"(best: {record.best_layer})")
    elif isinstance(record, results.LowShotRecord):
        cells = [
            f"{tap} " + " ".join(f"k={k} {shot.mean:.2f}" for k, shot in layer.shots.items())
            for tap, layer in record.layers.items()
        ]
    return f"{head}: {', '.join(cells)}"

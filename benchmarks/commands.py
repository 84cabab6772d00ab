"""The end that every benchmark command shares: plan, run, and show the records."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.catalog.benchmark import Goal
from benchmarks.catalog.listed import BENCHMARKS
from benchmarks.catalog.own import own_name
from benchmarks.catalog.partial import announcements, partial_record
from benchmarks.catalog.records import read_record
from benchmarks.checkpoints.wording import shown
from benchmarks.images.checking import CheckImages
from benchmarks.rehearsal.command import rehearse_command
from slurm.distributed import find_world
from slurm.errors import SweepError, UserError, one_line
from slurm.executor import dry_run, launch_from, run_sweep
from slurm.files import check_writable
from slurm.outputs import write_json
from slurm.sweep import Item, all_items

MOST_NOTES = 20  # that are said; all of them stand in the records and below the tables
LONGEST_NOTE = 1000  # characters


def finish_command(
    args: argparse.Namespace, goals: Sequence[Goal], work: Sequence[Item] | None = None
) -> None:
    """Run what the goals miss, then write `--json` and a summary line.

    With `--dry-run` say what that is instead, with `--rehearse` what it will cost.

    `work` are the items to run where they are not the goals themselves but lead to them.
    """
    work = goals if work is None else work
    speaks = find_world().first
    launch = launch_from(args)
    for line in announcements(goals) if speaks else ():
        print(line, file=sys.stderr)
    if getattr(args, "rehearse", None) is not None:
        rehearse_command(args, work, launch)
        return
    if args.dry_run:
        dry_run(work, launch, args.json)
        return
    checks = checks_of(goals)
    if not all(item.done() for item in (*checks, *goals)):  # else a read-only zoo will do
        check_writable(args.zoo)
    try:
        run_sweep([*checks, *work], launch)
    except (UserError, SweepError, SystemExit):  # of some items; the others have their results
        if speaks:
            _say_figures([goal.result for goal in goals if goal.done()])
        raise
    if not speaks or args.detach:
        return
    records = [goal.result for goal in goals]
    if args.json:
        contents = [path.read_bytes().rstrip(b"\n") for path in records]
        content = contents[0] if len(contents) == 1 else b"[" + b",\n".join(contents) + b"]"
        write_json(args.json, content + b"\n")
    _say_figures(records)


def _say_figures(records: Sequence[Path]) -> None:
    """A line a record, then what a reader of them must know."""
    found = [read_record(path) for path in records]
    for path, record in zip(records, found):
        print(one_line(f"{summary(record)} [{path}]"), file=sys.stderr)
    for line in notes_of(found):
        print(one_line(line), file=sys.stderr)


def notes_of(records: Sequence[results.Record]) -> list[str]:
    """What a reader of the records must know, a line for each note that several may share."""
    owners: dict[str, list[str]] = {}
    for record in records:
        for note in record.notes:
            owners.setdefault(note, []).append(f"{record.checkpoint.name} {record.benchmark}")
    lines = []
    for note, names in list(owners.items())[:MOST_NOTES]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"note on {names[0]}{more}: {shown(note, LONGEST_NOTE)}")
    left = len(owners) - len(lines)
    return [*lines, f"{left} more notes stand in the records"] if left else lines


def checks_of(goals: Sequence[Item]) -> list[Item]:
    """The checks of images that goals need: asked for, they run though all else is done."""
    return [item for item in all_items(goals).values() if item.stage == CheckImages.stage]


def summary(record: results.Record) -> str:
    """One line of a record's figures."""
    cells, mark = figures_of(record), partial_record(record)
    head = f"{record.checkpoint.name} {measured_as(record)}"
    return f"{head}: {', '.join(cells)}" + (f" ({mark})" if mark else "")


def measured_as(record: results.Record) -> str:
    """The benchmark of a record, and of which data where they are the user's own."""
    own = BENCHMARKS[record.benchmark].dataset == "own"
    return f"{record.benchmark} of {own_name(record)}" if own else record.benchmark


def figures_of(record: results.Record) -> list[str]:
    """The figures of a record in words; of low-shot SVMs those of a layer together."""
    cells = []
    if isinstance(record, results.ProbeRecord):
        cells = [f"{tap} {head.top1:.2f}" for tap, head in record.heads.items()]
        cells += [f"(a grid of {len(record.grid)} points in the record)"] if record.grid else []
    elif isinstance(record, results.VocSvmRecord):
        cells = [f"{tap} {layer.map:.2f}" for tap, layer in record.layers.items()]
        cells.append(f"(best: {record.best_layer})")
    elif isinstance(record, results.LowShotRecord):
        cells = [
            f"{tap} " + " ".join(f"k={k} {shot.mean:.2f}" for k, shot in layer.shots.items())
            for tap, layer in record.layers.items()
        ]
    elif figures := BENCHMARKS[record.benchmark].figures:
        cells = [f"{column} {value:.2f}" for column, value in figures(record).items()]
    return cells

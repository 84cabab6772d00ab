"""`--rehearse`: what a command would cost, instead of running it."""

import argparse
import sys
from collections.abc import Sequence

import msgspec

from benchmarks.rehearsal.job import Rehearsal
from benchmarks.rehearsal.report import Report
from slurm.distributed import find_world
from slurm.errors import UserError
from slurm.executor import Launch, run_sweep
from slurm.outputs import write_json
from slurm.sweep import Item


def rehearse_command(args: argparse.Namespace, work: Sequence[Item], launch: Launch) -> None:
    """Measure and print; `UserError` where this cannot be rehearsed."""
    from benchmarks.rehearsal.words import lines_of

    if args.dry_run:
        raise UserError("--rehearse and --dry-run: leave one out")
    if find_world().size > 1:
        raise UserError("--rehearse measures one process: leave torchrun out")
    if args.detach:
        raise UserError("--rehearse prints what it finds: leave --detach out")
    report = _report(args, tuple(work), launch)
    content = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
    text = "\n".join(lines_of(report))
    if args.json:
        write_json(args.json, content)
    print(text, file=sys.stderr if args.json == "-" else sys.stdout)


def _report(args: argparse.Namespace, work: tuple[Item, ...], launch: Launch) -> Report:
    """Measured by this process, or by one job."""
    if launch.cluster == "inline":
        from benchmarks.rehearsal.rehearse import rehearse

        return rehearse(work, args.rehearse)
    job = Rehearsal(work, args.rehearse, args.zoo, args.device)
    job.result.unlink(missing_ok=True)
    run_sweep([job], launch)
    return job.taken()

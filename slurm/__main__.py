"""Runs on SLURM that were started with --cluster slurm: how they stand, and what to do.

    python -m slurm list             the runs of a zoo
    python -m slurm status RUN       per stage: done, running, waiting, failed and why
    python -m slurm resume RUN       submit what is missing and wait for it
    python -m slurm cancel RUN       cancel all its jobs; resume takes it up again

RUN is a name that `list` shows, or its folder. These work from any machine that sees the zoo and
the cluster; resume and cancel are for the user who started the run.
"""

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from slurm.cli import Parser, add_zoo_flag, choose, run_command
from slurm.errors import SweepError, UserError, one_line
from slurm.files import check_is_there

if TYPE_CHECKING:
    from slurm.runs import Run
    from slurm.scheduler.commands import Scheduler

SHOWN = 500  # characters of a run's command


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m slurm", description=__doc__ or "")
    actions = ("list", "status", "resume", "cancel")
    parser.add_argument("action", choices=actions, help="what to do, as above")
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run's name or folder")
    parser.add_argument("--detach", action="store_true", help="resume: return after submission")
    add_zoo_flag(parser)
    args = parser.parse_intermixed_args(argv)  # so that RUN may stand behind the flags
    if args.action == "list" and args.run is not None:
        parser.error(f"list takes no RUN, but {args.run!r} is given")
    if args.action == "list":
        check_is_there(args.zoo)
        print_runs(args.zoo / "runs")
        return
    if args.run is None:
        parser.error(f"{args.action} needs a RUN")
    run = open_run(args.run, args.zoo)
    if args.action == "status":
        print_status(run)
        return
    if owner(run) != os.getuid():
        raise UserError(f"{run.folder} belongs to another user, who alone can {args.action} it")
    if args.action == "cancel":
        cancel(run)
    else:
        resume(run, detach=args.detach)


def open_run(name: str, zoo: Path) -> "Run":
    """The run named `name` in `zoo`, or whose folder `name` is; we move to where it was started."""
    from slurm.runs import Run, find_runs

    if not name.strip():
        raise UserError("an empty RUN; python -m slurm list names the runs of a zoo")
    given = Path(name).absolute()
    if (given / "manifest.json").exists():
        run = Run(given)
    else:
        runs = (zoo / "runs").absolute()
        if not (runs / name / "manifest.json").exists():
            known = [found.name for found in find_runs(runs)]
            if not known:
                raise UserError(f"no run {name!r}: there are no runs in {runs}; name another --zoo")
            choose(name, known, "run")
        run = Run(runs / name)
    folder = Path(run.manifest.folder)
    if not folder.is_dir():
        raise UserError(
            f"run {run.name} was started in {folder}, which is not there on this machine"
        )
    os.chdir(folder)
    return run


def print_runs(runs: Path) -> None:
    """One line per run, also for one whose manifest cannot be read."""
    from slurm.runs import find_runs

    found = find_runs(runs)
    if not found:
        print(f"no runs in {runs}: --cluster slurm makes them")
    for run in found:
        name = one_line(run.name)
        try:
            manifest = run.manifest
        except UserError as error:
            print(f"{name}  {one_line(str(error))}")
            continue
        items = sum(len(stage.keys) for stage in manifest.stages)
        mark = " (cancelled)" if run.cancelled else ""
        print(f"{name}  {items} items{mark}  {one_line(manifest.command)[:SHOWN]}")


def print_status(run: "Run") -> None:
    """The stages of a run and what failed, without changing anything."""
    from slurm.launch.counts import table
    from slurm.launch.watch import Watch
    from slurm.scheduler.commands import Scheduler

    requests, items = run.manifest.requests, run.list_items()
    scheduler = Scheduler.of(owner(run))
    watch = Watch(run, scheduler, requests, tell=lambda line: None, items=items)
    known = watch.look()
    if known:
        watch.judge_absent(resubmit=False)
    print(f"run {one_line(run.name)}" + (" (cancelled)" if run.cancelled else ""))
    print(table(watch.counts()))
    if watch.waiting_for():
        print(f"most of what waits in the queue waits for {watch.waiting_for()}")
    for failure in watch.failures.values():
        print(f"failed: {one_line(failure.key)}: {one_line(failure.reason)}")
        if failure.log:
            print(f"  log: {one_line(failure.log)}")
    if not known:
        print(f"SLURM does not answer ({watch.silence}), so what runs is not known")
        return
    alone = [p for p in watch.open if p not in watch.attempts or p in watch.absent]
    if alone or watch.failures:
        print(
            f"{len(alone) + len(watch.failures)} items have neither a result nor a job; their "
            f"launcher submits them, or python -m slurm resume {run.folder}"
        )


def owner(run: "Run") -> int:
    """The number of the user who started a run."""
    return (run.folder / "manifest.json").stat().st_uid


def cancel(run: "Run") -> None:
    """Cancel the jobs of a run and tell its launcher."""
    from slurm.scheduler.commands import Scheduler

    scheduler = Scheduler()
    scheduler.check_installed()
    run.set_cancelled(True)
    print(f"{run.name}: {end_jobs(run, scheduler)} jobs cancelled")


def end_jobs(run: "Run", scheduler: "Scheduler") -> int:
    """Cancel all jobs of a run; how many there were."""
    from slurm.scheduler.commands import SchedulerDown

    try:
        return scheduler.cancel_all(f"{run.name}.")
    except SchedulerDown as down:
        raise SweepError({run.name: f"not all is cancelled ({down}); cancel it again"}) from None


def resume(run: "Run", *, detach: bool) -> None:
    """Take a run up again."""
    from slurm.launch.launcher import claim_cancelled, look_after
    from slurm.scheduler.commands import Scheduler

    scheduler = Scheduler()
    scheduler.check_installed()
    token = secrets.token_hex(4)
    try:
        claim_cancelled(run, token)
        if run.cancelled:
            end_jobs(run, scheduler)
            run.forget_arrays()
            run.set_cancelled(False)
        look_after(run, scheduler, run.manifest.requests, detach=detach, token=token)
    finally:
        run.release_launcher(token)
    if not detach:
        print(f"{run.name}: everything is done")


if __name__ == "__main__":
    run_command(main)

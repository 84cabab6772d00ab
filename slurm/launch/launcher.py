"""`--cluster slurm`: submit a sweep as job arrays and look after it until every item is done.

The launcher decides from result files. SLURM is asked only about items that have none, and a
job's state only tells whether another submission can help. Several launchers of one run, and
tasks that run twice, do no harm: every item writes its own result, whole or not at all.
"""

import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from slurm.errors import SweepError, UserError
from slurm.failures import raise_failures
from slurm.files import check_writable
from slurm.launch.patience import Patience
from slurm.launch.requests import check_requests, describe_changes, renewed
from slurm.launch.submitter import Submitter
from slurm.launch.view import View
from slurm.launch.watch import Watch
from slurm.progress import say
from slurm.runs import Run, create_run, find_runs
from slurm.scheduler.commands import Scheduler, SchedulerDown
from slurm.scheduler.settings import ClusterSettings, Request, check_stages
from slurm.stop import Terminated
from slurm.stored.launchers import Launcher, alone
from slurm.sweep import Item, missing_stages

SILENCE_SECONDS = 1800.0  # without an answer of SLURM before the launcher gives up
STANDSTILL_SECONDS = 14 * 86400.0  # without any change, such as in a queue that never moves


def run_slurm(
    goals: Sequence[Item],
    runs: Path,
    settings: ClusterSettings,
    *,
    threads: int | None = None,
    detach: bool = False,
    scheduler: Scheduler | None = None,
) -> None:
    """Run what `goals` miss as job arrays; with `detach` return after submission.

    Raises `UserError`, before anything is submitted where it can be known, or `SweepError`.
    """
    check_stages(settings, goals, "the cluster settings")
    stages = missing_stages(goals)
    if not stages:
        return
    scheduler = scheduler or Scheduler()
    scheduler.check_installed()
    if "%" in str(runs.absolute()):
        raise UserError(f"SLURM reads the % in {runs.absolute()} as a pattern; name another --zoo")
    check_writable(runs)
    fingerprint = sha256("\n".join(repr(goal) for goal in goals).encode()).hexdigest()
    token, starting = secrets.token_hex(4), runs / f".{fingerprint[:16]}.{os.getuid()}.starting"
    try:
        requests = check_requests(scheduler, settings, stages)
        scheduler.max_array_size()  # its answer is needed later; better known to be readable now
        with alone(starting, token, "is just starting the same sweep"):
            running = find_same(runs, fingerprint, scheduler)
            if running is None:
                run = create_run(runs, stages, requests, goals=fingerprint, threads=threads)
                run.renew_launcher(token)  # so that the next one finds it
    except SchedulerDown as down:
        raise SweepError({"submission": f"SLURM does not answer: {down}"}) from None
    if running:
        say(f"the same sweep is under way as run {running.name}: looking after that one")
        asked = renewed(running.manifest, stages, requests)
        running = _take_settings(running, asked, threads)
        look_after(running, scheduler, asked, detach=detach)
        if detach:
            return
        run_slurm(goals, runs, settings, threads=threads, detach=detach, scheduler=scheduler)
        return
    say(f"run {run.name}: {sum(len(stage.items) for stage in stages)} items")
    look_after(run, scheduler, requests, detach=detach, token=token)


def _take_settings(run: Run, requests: Sequence[Request], threads: int | None) -> Run:
    """`run` as it asks for `requests` from now on; says so where it asked for something else."""
    changes = describe_changes(run.manifest, requests)
    for line in changes:
        say(line)
    other = run.other_launcher("") if changes else None
    if other is not None:
        say(
            f"process {other.pid} on {other.host}, which submits, goes on with the settings that "
            "it was started with: end it for the new ones (the jobs go on)"
        )
    return run.asking_for(requests, threads)


def look_after(
    run: Run,
    scheduler: Scheduler,
    requests: Sequence[Request],
    *,
    detach: bool = False,
    token: str | None = None,
) -> None:
    """Submit what `run` misses and wait until nothing is open; raises what failed.

    The working directory must be the one of the manifest. With `detach` return after submission.
    `token` is the one by which this process has claimed the run, if it has.
    """
    watch, token = Watch(run, scheduler, requests), token or secrets.token_hex(4)
    try:
        other = _follow(watch, token, detach=detach)
    except (KeyboardInterrupt, SystemExit, Terminated, OSError):
        say(f"the jobs go on; see python -m slurm status, resume or cancel {run.folder}")
        raise
    finally:
        run.release_launcher(token)
    if watch.open:
        how = "that process submits what is missing" if other else "submitted"
        say(f"{how}; python -m slurm status {run.folder} says how it goes")
    raise_failures(watch.failures.values())


def _follow(watch: Watch, token: str, *, detach: bool) -> Launcher | None:
    """Look, decide and submit until every item is closed, or with `detach` has its task.

    With `detach` a living launcher will do as well: it is returned.
    """
    began, patience = time.monotonic(), Patience(watch.run.name)
    follower = _Follower(watch, token)
    with View(watch) as view:
        while True:
            try:
                ends = follower.look(detach=detach)
                patience.rest()
            except OSError as error:
                patience.bear(error)
                ends = False
            view.show()
            if ends:
                return follower.other
            _check_deadlines(watch, follower.submitter)
            time.sleep(min(30.0, max(0.5, (time.monotonic() - began) / 40)))


class _Follower:
    """This process, as it looks after a run, or watches while another one does."""

    def __init__(self, watch: Watch, token: str) -> None:
        self.watch, self.run, self.token = watch, watch.run, token
        self.submitter = Submitter(watch, has_run=lambda: self.run.claim(token) is None)
        self.other: Launcher | None = None  # who looks after the run instead
        self._seen = self.run.other_launcher(token)  # at first
        self._lives = False  # whether another launcher gave a sign of life since
        self._begun = False  # whether this process has judged the run

    def look(self, *, detach: bool) -> bool:
        """Do what is to be done now; whether that is all, or with `detach` is under way.

        A launcher that was killed on another machine seems alive for a while, so that only its
        next sign of life counts.
        """
        watch = self.watch
        if self.run.cancelled:
            _end_jobs(watch)
            raise SweepError({self.run.name: "was cancelled; python -m slurm resume continues it"})
        before, self.other = self.other, self.run.claim(self.token)
        if self.other is not None and before is None:
            who = f"process {self.other.pid} on {self.other.host}"
            say(f"{who} looks after {self.run.name}: only watching")
        alone = self.other is None
        lives = not alone and self.other != self._seen
        self._lives = self._lives or lives
        answered = watch.look()
        if answered and (alone or lives):
            if alone and not (self._begun or self._lives):
                watch.forget_ended()
            self._begun = True
            watch.judge_absent(resubmit=alone)
            if alone:
                self.submitter.submit()
        complete = answered and self.submitter.complete(listed=not alone)
        ends = not watch.open or (detach and (lives or complete) and not self.run.cancelled)
        if ends and alone:
            _cancel_orphans(watch)
        return ends


def _cancel_orphans(watch: Watch) -> None:
    """Leave no job behind of a submission that was given up, should the queue show it only now."""
    if watch.cut and watch.look():
        watch.scheduler.cancel(watch.orphans())


def _end_jobs(watch: Watch) -> None:
    """Cancel what is left of a cancelled run: an array that was just being submitted."""
    try:
        watch.scheduler.cancel_all(f"{watch.run.name}.")
    except SchedulerDown as down:
        say(f"not all jobs are cancelled ({down}); python -m slurm cancel {watch.run.folder}")


def _check_deadlines(watch: Watch, submitter: Submitter) -> None:
    """Give up on a cluster that does not answer, takes nothing, or does not move."""
    now, reason = time.monotonic(), None
    if now - watch.answered > SILENCE_SECONDS:
        reason = f"SLURM has not answered for {SILENCE_SECONDS / 60:.0f} minutes"
    elif not watch.live and now - (submitter.busy_since or now) > SILENCE_SECONDS:
        reason = f"SLURM has taken nothing for {SILENCE_SECONDS / 60:.0f} minutes"
    elif now - watch.changed > STANDSTILL_SECONDS:
        reason = f"nothing has moved for {STANDSTILL_SECONDS / 86400:.0f} days"
    if reason:
        raise SweepError({watch.run.name: f"{reason}; python -m slurm resume continues it"})


def claim_cancelled(run: Run, token: str) -> None:
    """Claim a cancelled run when nobody looks after it: to each launcher the mark must be shown.

    One that missed it would fail by its cancelled tasks, or cancel those that are new.
    """
    told = False
    while run.cancelled and (other := run.claim(token)) is not None:
        if not told:
            say(f"waiting until process {other.pid} on {other.host} has left {run.name}")
        told = True
        time.sleep(1.0)


def find_same(runs: Path, fingerprint: str, scheduler: Scheduler) -> Run | None:
    """The latest of our runs for the same goals that still has jobs, or a launcher."""
    busy = {task.job_name.rpartition(".")[0] for task in scheduler.live("")}
    for run in reversed(find_runs(runs)):  # only manifests of such runs are read
        with suppress(UserError, OSError):  # one that cannot be read is not the one
            under_way = run.name in busy or (run.other_launcher("") is not None and _is_ours(run))
            if under_way and not run.cancelled and run.manifest.goals == fingerprint:
                return run
    return None


def _is_ours(run: Run) -> bool:
    """Whether it is of this user, who alone can look after it."""
    return (run.folder / "manifest.json").stat().st_uid == os.getuid()

"""Questions to SLURM's own commands, each with a deadline and none believed when it fails.

Jobs are recognised by their name, which holds the run's random part: SLURM can give the number
of a job that it forgot to another one.
"""

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import NamedTuple

from slurm.errors import UserError, one_line
from slurm.scheduler.answers import NotReadable, plain, rows
from slurm.scheduler.environment import CLUSTERS, login_environment

ANSWER_SECONDS = 60.0
CANCEL_SECONDS = 120.0  # until a cancelled job has left the queue
CANCEL_PAUSE = 0.5

# The lines of each answer. The first line of the tables is asked for too: it tells an empty table
# from one that something else printed.
_PARTITION = re.compile(r"([^\s|]+)\s*\|([^|]*)\|\s*(infinite|unlimited|n/a|\d[\d:-]*)\s*", re.I)
_PARTITION_NAME = re.compile(r"([^\s|*]+\*?)")
_TASK = re.compile(r"(.*?)\|([^|]*)\|([A-Z_]+)\|(\d[^|\s]*)\|(.*)")
_ENDED = re.compile(r"(\d+(?:_[\d\[\],%-]*)?)\|([^|]*)\|([A-Z_]+)(?: [^|]*)?\|(\d+:\d+)")
# AssocMaxSubmitJobLimit, QOSMaxSubmitJobPerUserLimit, QOSGrpSubmitJobsLimit; the sentence that
# follows them is that of other limits too.
_FULL = re.compile(r"(?:Max|Grp)SubmitJob")
_QUEUE = "NAME|ARRAY_TASK_ID|STATE|JOBID|REASON"


class SchedulerDown(Exception):
    """SLURM did not answer, so nothing is known."""


class TaskId(NamedTuple):
    """One task of an array: the name of its job and its number in the array."""

    job_name: str
    number: int


@dataclass(frozen=True)
class TaskState:
    """What SLURM says about a task."""

    state: str  # PENDING, RUNNING, FAILED, TIMEOUT, ...
    reason: str = ""  # why it waits, or its exit code
    job: str = ""  # SLURM's number of it, such as 12_3


@dataclass(frozen=True)
class Partition:
    """What the nodes of a partition can give."""

    name: str
    gpus: int  # of the node that has most
    minutes: int | None  # longest time limit; None: no limit


class Scheduler:
    """The SLURM that the commands on the PATH talk to."""

    user: int | None = None  # whose jobs are looked at; None: our own

    @classmethod
    def of(cls, user: int) -> "Scheduler":
        """The same for whoever looks at the jobs of the user with that number."""
        found = cls()
        found.user = user
        return found

    def check_installed(self) -> None:
        """`UserError` unless jobs can be submitted from this machine to its own cluster."""
        other = next((name for name in CLUSTERS if os.environ.get(name)), None)
        if other:
            raise UserError(
                f"{other}={os.environ[other]} names other clusters: unset it, and start this on a "
                "login node of the cluster that shall run it"
            )
        for program in ("sbatch", "squeue", "srun", "scancel"):
            if shutil.which(program) is None:
                raise UserError(
                    f"no {program} on the PATH: start this on a login node of the cluster, or use "
                    "--cluster local"
                )

    def partitions(self) -> dict[str, Partition]:
        """The partitions by name."""
        found: dict[str, Partition] = {}
        text = _ask("sinfo", "-a", "-o", "%R|%G|%l")
        for name, gres, limit in _rows("sinfo", text, _PARTITION, "PARTITION|GRES|TIMELIMIT"):
            before = found.get(name)
            gpus = max(gpus_in(gres.strip()), before.gpus if before else 0)
            found[name] = Partition(name, gpus, minutes_in(limit))
        return found

    def default_partition(self) -> str | None:
        """The partition of jobs that name none."""
        names = _rows("sinfo", _ask("sinfo", "-a", "-o", "%P"), _PARTITION_NAME, "PARTITION")
        return next((name.rstrip("*") for (name,) in names if name.endswith("*")), None)

    def max_array_size(self) -> int:
        """Most tasks of one array; 1 where there are no arrays."""
        config = plain(_ask("scontrol", "show", "config"))
        limits = (
            r"^\s*MaxArraySize\s*=\s*(\d+)",
            r"^\s*MaxJobCount\s*=\s*(\d+)",
            r"max_array_tasks=(\d+)",
        )
        found = [match for limit in limits if (match := re.search(limit, config, re.M))]
        if config.strip() and not found:
            raise SchedulerDown(str(NotReadable("scontrol", config)))
        return max(1, min((int(match.group(1)) for match in found), default=1001))

    def refusal(self, options: list[str]) -> str | None:
        """Why SLURM would refuse a job with these options of sbatch; None if it would not.

        That there is no room now for one more job is no refusal: it will be waited for.
        """
        command = ["sbatch", "--test-only", *options, "--wrap", "true"]
        done = _run(command)
        if done.returncode == 0:
            return None
        lines = [line.removeprefix("sbatch: error: ") for line in done.stderr.splitlines()]
        message = one_line("; ".join(line for line in lines if line))
        if is_down(message):
            raise SchedulerDown(message)
        return None if is_full(message) else message

    def live(self, run: str) -> dict[TaskId, TaskState]:
        """The tasks of the jobs whose names begin with `run`, as far as they wait or run."""
        user = os.getuid() if self.user is None else self.user
        text = _ask("squeue", "-r", "-u", str(user), "-o", "%j|%K|%T|%i|%r")
        damaged = [
            line
            for line in map(str.strip, plain(text).splitlines())
            if run and line.startswith(run) and not _TASK.fullmatch(line)
        ]
        if damaged:  # a job of ours that we would take for gone
            raise SchedulerDown(str(NotReadable("squeue", damaged[0])))
        found = {}
        for name, index, state, job, reason in _rows("squeue", text, _TASK, _QUEUE):
            if name.startswith(run):
                number = int(index) if index.isdecimal() else 0
                found[TaskId(name, number)] = TaskState(state, reason, job)
        return found

    def ended(self, jobs: dict[str, str]) -> dict[TaskId, TaskState]:
        """What the accounting knows of the jobs `{number: name}`; empty where there is none.

        Raises `SchedulerDown` where there is one and it does not answer.
        """
        if not jobs or shutil.which("sacct") is None:
            return {}
        command = ["sacct", "-X", "-P", "-o", "JobID,JobName,State,ExitCode"]
        command += [] if self.user is None else ["-u", str(self.user)]
        try:
            text = _ask(*command, "-j", ",".join(jobs))
        except SchedulerDown as down:
            if "disabled" in str(down):  # a cluster without accounting says so by an error
                return {}
            raise
        found = {}
        header = "JobID|JobName|State|ExitCode"
        for job, name, state, code in _rows("sacct", text, _ENDED, header):
            number, _, indices = job.partition("_")
            if jobs.get(number) == name:
                for index in indices_in(indices):
                    found[TaskId(name, index)] = TaskState(state, code, job)
        return found

    def cancel(self, jobs: list[str]) -> str:
        """Cancel jobs or tasks by SLURM's numbers; why that did not work, or nothing.

        That a job ended already is said too, so only the queue tells what is cancelled.
        """
        error = ""
        for first in range(0, len(jobs), 500):
            try:
                done = _run(["scancel", *jobs[first : first + 500]])
            except SchedulerDown as down:
                error = str(down)
            else:
                error = one_line(done.stderr) if done.returncode else error
        return error

    def cancel_all(self, run: str, seconds: float = CANCEL_SECONDS) -> int:
        """Cancel the jobs whose names begin with `run` until none is left; how many there were.

        Raises `SchedulerDown` when that takes more than `seconds`.
        """
        deadline, cancelled, error = time.monotonic() + seconds, set[str](), ""
        while True:
            live = [task for task in self.live(run).values() if task.state != "COMPLETING"]
            jobs = {task.job.partition("_")[0] for task in live}
            if not jobs:
                return len(cancelled)
            if time.monotonic() > deadline:
                raise SchedulerDown(error or f"{len(jobs)} jobs are still there")
            error = self.cancel(sorted(jobs)) or error
            cancelled |= jobs
            time.sleep(CANCEL_PAUSE)


def is_unreachable(message: str) -> bool:
    """Whether an error of a SLURM command says that the cluster could not be reached."""
    signs = (
        "unable to contact",
        "connection refused",
        "connection timed out",
        "socket timed out",
        "communication",
    )
    return any(sign in message.lower() for sign in signs)


def is_down(message: str) -> bool:
    """Whether an error says that the cluster could not be reached or is busy."""
    busy = ("temporarily", "resource busy", "try again")
    return is_unreachable(message) or any(sign in message.lower() for sign in busy)


def is_full(message: str) -> bool:
    """Whether an error says that a user or a group has as many jobs as there may be at once."""
    return bool(_FULL.search(message))


def indices_in(text: str) -> list[int]:
    """The tasks in a job's number: `3` -> 3; `[3-5,9%2]`, which never began -> 3, 4, 5, 9.

    A job that is no array is its task 0.
    """
    found: list[int] = []
    for part in text.strip("[]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        found += range(int(first or 0), int(last or first or 0) + 1)
    return found


def gpus_in(gres: str) -> int:
    """The GPUs in what sinfo says of a node's gres: `gpu:a100:8(S:0-1),nvme:1` -> 8."""
    counts = re.findall(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)", gres)
    return sum(int(count) for count in counts)


def minutes_in(limit: str) -> int | None:
    """Whole minutes of a time limit such as `1-02:30:00`; None for `infinite`."""
    seconds = seconds_in(limit)
    return None if seconds is None else seconds // 60


def seconds_in(limit: str) -> int | None:
    """Seconds of such a time limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _rows(command: str, text: str, form: "re.Pattern[str]", header: str) -> list[tuple[str, ...]]:
    try:
        return rows(command, text, form, header)
    except NotReadable as error:
        raise SchedulerDown(str(error)) from None


def _ask(*command: str) -> str:
    done = _run(list(command))
    if done.returncode:
        raise SchedulerDown(one_line(f"{command[0]}: {done.stderr}"))
    return done.stdout


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # a banner may be in any encoding
            timeout=ANSWER_SECONDS,
            check=False,
            env=login_environment(os.environ) | {"SLURM_BITSTR_LEN": "0"},  # no task ids cut off
        )
    except subprocess.TimeoutExpired:
        raise SchedulerDown(f"{command[0]} gave no answer in {ANSWER_SECONDS:.0f} s") from None
    except FileNotFoundError:
        raise SchedulerDown(f"no {command[0]} on the PATH") from None

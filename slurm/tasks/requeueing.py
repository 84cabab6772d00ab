"""What a task asks SLURM about its own job: whether it still runs, and to be queued again."""

import math
import os
import re
import shutil
import subprocess
import time

from slurm.progress import say
from slurm.scheduler.commands import minutes_in, seconds_in
from slurm.scheduler.environment import login_environment

MAX_RESTARTS = 200  # of one job by itself, each with some progress saved
TRIES = 8  # a busy controller has this many chances,
PAUSE = 5.0  # seconds apart: all of them before the time limit

_PREEMPTED = re.compile(r"\bPreemptTime=\d")

_queued = False  # whether this job was put back into the queue


def restarts() -> int:
    """How often SLURM started this task before."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def requeue() -> None:
    """Put this job back into the queue, once; SLURM then ends all that is left of it."""
    global _queued
    if _queued:
        return
    if restarts() >= MAX_RESTARTS:
        say(f"not queued again: started {restarts() + 1} times already")
        return
    say(f"queueing {_job()} again (start {restarts() + 2})")
    for _ in range(TRIES):
        if _ask("scontrol", "requeue", _job()) is not None:
            _queued = True
            return
        time.sleep(PAUSE)


def is_running() -> bool:
    """Whether SLURM still takes this job for one that runs.

    One that is cancelled or queued again is ending for SLURM before its processes hear of it.
    """
    return _ask_patiently("squeue", "-h", "-j", _job(), "-o", "%T") == "RUNNING"


def is_preempted() -> bool:
    """Whether SLURM preempts this job, which runs on for the grace time of its partition."""
    told = _ask_patiently("scontrol", "show", "job", _job()) or ""
    return "JobState=RUNNING" in told and _PREEMPTED.search(told) is not None


def seconds_left() -> float | None:
    """Until the time limit of this job; infinite without one, or when it is ending anyway.

    None when SLURM does not answer.
    """
    answer = _ask("squeue", "-h", "-j", _job(), "-o", "%T %L")
    if answer is None:
        return None
    state, _, left = answer.partition(" ")
    seconds = seconds_in(left.strip()) if state == "RUNNING" else None
    return math.inf if seconds is None else seconds


def time_limit() -> str:
    """The time limit of this job in words, as far as SLURM says it."""
    minutes = minutes_in(_ask("squeue", "-h", "-j", _job(), "-o", "%l") or "")
    return "its time limit" if minutes is None else f"its limit of {minutes} minutes"


def _job() -> str:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]


def _ask_patiently(*command: str) -> str | None:
    """What a command of SLURM answers, if need be at last; None where this machine lacks it."""
    for _ in range(TRIES if shutil.which(command[0]) else 0):
        answer = _ask(*command)
        if answer is not None:
            return answer
        time.sleep(PAUSE)
    return None


def _ask(*command: str) -> str | None:
    """What a command of SLURM answers; None when it fails.

    It has a session of its own, since SLURM kills this process as soon as it queues the job again.
    """
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=30,
            check=False,
            env=login_environment(os.environ),
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"{' '.join(command)} gave no answer: {error}")
        return None
    return None if done.returncode else done.stdout.strip()

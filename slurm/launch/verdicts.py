"""What to make of a task that has no result and that SLURM no longer lists as waiting or running.

A state alone never says that an item is done; it says only whether another start can help.
"""

import re
from dataclasses import dataclass
from typing import Literal

from slurm.cli import STOPPED
from slurm.failures import Failure
from slurm.scheduler.commands import TaskState
from slurm.scheduler.settings import Request

# A result can be on the server for a while before another machine sees it.
COMPLETED_SECONDS = 60.0
# The accounting learns of an end some seconds later, and of some jobs never.
UNKNOWN_SECONDS = 30.0
# It can be behind with those that it says are not over; it says so for ever of jobs that the
# controller has lost.
BEHIND_SECONDS = 180.0
# An accounting that does not answer is asked again until then.
SILENT_SECONDS = 300.0
ENDED_SECONDS = 5.0

ENDED_BADLY = ("FAILED", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "REVOKED")
# Reasons to wait that nothing but a new submission ends. Not JobHeldAdmin: an administrator holds a
# job, and lets it go; one that SLURM itself holds after a failed launch says so.
STUCK = (
    *("DependencyNeverSatisfied", "JobHoldMaxRequeue", "launch failed"),
    *("BadConstraints", "InvalidAccount", "InvalidQOS"),
)
# Reasons that no submission of the same request ends: limits of what one job may be, whatever else
# there is. QOSMaxGRESPerUser and its like end when other jobs do.
HOPELESS = re.compile(r"(QOS|Assoc)Max\w+Per(Job|Node)(Limit)?|QOSMin\w+|PartitionTimeLimit")
UNENDED = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED", "RESIZING")
HELD = ("REQUEUE_HOLD", "SPECIAL_EXIT")


@dataclass(frozen=True)
class Verdict:
    """`again`: submit it again; `failed`: that would end the same; `wait`: not yet clear."""

    kind: Literal["again", "failed", "wait"]
    reason: str = ""
    counts: bool = True  # `again`: the item may be at fault, so that it counts as an attempt


def judge(
    failure: Failure | None,
    state: TaskState | None,
    absent: float,
    request: Request,
    resumable: bool,
    renewed: bool = False,
) -> Verdict:
    """The verdict on a task that SLURM has not listed for `absent` seconds.

    `failure` is what the task itself noted, `state` what the accounting says, if anything;
    `request` is what it asked for, `renewed` whether another submission would ask for other things.
    """
    if failure is not None and failure.waiting:
        return Verdict("again", failure.reason, counts=False)
    if failure is not None and failure.lost:
        return Verdict("again", failure.reason)
    name = state.state if state else "unknown"
    if failure is not None and not (failure.late and name == "OUT_OF_MEMORY"):
        return Verdict("again" if failure.late and renewed else "failed", failure.reason)
    if name == "OUT_OF_MEMORY":
        asked = f"{request.settings.mem_gb} GB" if request.settings.mem_gb else "the default"
        return _more_needed(f"ran out of memory (asked for {asked})", "--mem-gb", renewed)
    if name == "CANCELLED":
        return Verdict("failed", "was cancelled; python -m slurm resume runs it again")
    if name == "TIMEOUT" and not resumable:
        limit = f"its limit of {request.minutes} minutes"
        return _more_needed(f"ran into {limit}", "--time", renewed)
    if name == "TIMEOUT":
        return Verdict("again", "ran into its time limit before it had saved")
    if name == "PREEMPTED":
        reason = "was preempted and not queued again"
        long = absent >= ENDED_SECONDS
        return Verdict("again", reason, counts=False) if long else Verdict("wait")
    if state and (name, state.reason) == ("FAILED", f"{STOPPED}:0"):
        reason = "was stopped by SLURM and not queued again"
        long = absent >= ENDED_SECONDS
        return Verdict("again", reason, counts=False) if long else Verdict("wait")
    if name in ENDED_BADLY:
        code = f" with exit code {state.reason}" if state and name == "FAILED" else ""
        reason = f"ended as {name}{code} without a word"
        return Verdict("again", reason) if absent >= ENDED_SECONDS else Verdict("wait")
    if name == "COMPLETED":
        reason = "ended well, but its result cannot be seen here"
        return Verdict("again", reason) if absent >= COMPLETED_SECONDS else Verdict("wait")
    if absent >= (BEHIND_SECONDS if name in UNENDED else UNKNOWN_SECONDS):
        return Verdict("again", f"is no longer known to SLURM (accounting: {name})")
    return Verdict("wait")


def _more_needed(reason: str, flag: str, renewed: bool) -> Verdict:
    """On a task that asked for too little of what `flag` sets."""
    return Verdict("again", reason) if renewed else Verdict("failed", f"{reason}; raise {flag}")


def is_hopeless(state: TaskState, request: Request) -> bool:
    """Whether a waiting task that asked for `request` asks for what no job may have.

    Of several partitions the reason is that of one alone.
    """
    several = "," in (request.settings.partition or "")
    return state.state == "PENDING" and not several and bool(HOPELESS.fullmatch(state.reason))


def is_stuck(state: TaskState) -> bool:
    """Whether a waiting task would wait for ever, though another one like it might not."""
    waits = state.state == "PENDING" and any(sign in state.reason for sign in STUCK)
    return waits or state.state in HELD

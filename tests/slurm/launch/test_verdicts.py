"""When a task without a result is submitted again, has failed, or is waited for."""

import pytest

from slurm.failures import Failure
from slurm.launch.verdicts import is_hopeless, is_stuck, judge
from slurm.scheduler.commands import TaskState
from slurm.scheduler.settings import ClusterSettings, Request

REQUEST = Request(1, 1, 0, 240, ClusterSettings())
LONG = 1e6


@pytest.mark.parametrize(
    ("state", "resumable", "absent", "kind"),
    [
        ("FAILED", False, LONG, "again"),
        ("FAILED", False, 0.0, "wait"),
        ("NODE_FAIL", False, LONG, "again"),
        ("PREEMPTED", True, LONG, "again"),
        ("TIMEOUT", False, 0.0, "failed"),
        ("TIMEOUT", True, 0.0, "again"),
        ("OUT_OF_MEMORY", False, 0.0, "failed"),
        ("CANCELLED", False, 0.0, "failed"),
        ("COMPLETED", False, 30.0, "wait"),  # its result may not be visible yet
        ("COMPLETED", False, LONG, "again"),
        ("RUNNING", False, 150.0, "wait"),  # the accounting lags
        ("PENDING", True, 150.0, "wait"),
        ("RUNNING", False, LONG, "again"),
        (None, False, 10.0, "wait"),
        (None, False, LONG, "again"),
    ],
)
def test_states(state: str | None, resumable: bool, absent: float, kind: str) -> None:
    known = TaskState(state) if state else None
    assert judge(None, known, absent, REQUEST, resumable).kind == kind


@pytest.mark.parametrize("state", ["TIMEOUT", "OUT_OF_MEMORY"])
def test_what_had_too_little_is_run_again_with_more(state: str) -> None:
    verdict = judge(None, TaskState(state), 0.0, REQUEST, False, renewed=True)
    assert (verdict.kind, verdict.counts) == ("again", True)
    assert "raise" not in verdict.reason


def test_preemption_is_no_fault_of_the_item() -> None:
    verdict = judge(None, TaskState("PREEMPTED"), LONG, REQUEST, False)
    assert (verdict.kind, verdict.counts) == ("again", False)
    assert judge(None, TaskState("PREEMPTED"), 0.0, REQUEST, False).kind == "wait"


def test_a_task_that_saved_when_slurm_asked_it_to_is_no_failed_attempt() -> None:
    """As in the grace time of a preemption, where it could not have itself queued again."""
    stopped = TaskState("FAILED", "75:0")  # EX_TEMPFAIL
    verdict = judge(None, stopped, LONG, REQUEST, True)
    assert (verdict.kind, verdict.counts) == ("again", False)
    assert "stopped by SLURM" in verdict.reason
    assert judge(None, stopped, 0.0, REQUEST, True).kind == "wait"
    assert judge(None, TaskState("FAILED", "1:0"), LONG, REQUEST, True).counts


def test_what_the_task_said_counts_more_than_its_state() -> None:
    verdict = judge(Failure("x", "boom"), TaskState("FAILED"), 0.0, REQUEST, True)
    assert (verdict.kind, verdict.reason) == ("failed", "boom")


def test_a_task_that_came_too_early_is_no_failed_attempt() -> None:
    early = Failure("x", "needs y", waiting=True)
    verdict = judge(early, TaskState("FAILED"), 0.0, REQUEST, False)
    assert (verdict.kind, verdict.counts) == ("again", False)


def test_what_one_of_several_processes_met_is_a_lost_start() -> None:
    lost = Failure("x", "RuntimeError: connection closed by peer", lost=True)
    verdict = judge(lost, TaskState("FAILED"), 0.0, REQUEST, True)
    assert (verdict.kind, verdict.counts) == ("again", True)
    assert "closed by peer" in verdict.reason


def test_stuck_tasks() -> None:
    assert is_stuck(TaskState("PENDING", "DependencyNeverSatisfied"))
    assert is_stuck(TaskState("PENDING", "launch failed requeued held"))
    assert is_stuck(TaskState("PENDING", "BadConstraints"))
    assert is_stuck(TaskState("REQUEUE_HOLD", "JobHeldUser"))
    assert is_stuck(TaskState("SPECIAL_EXIT"))
    assert not is_stuck(TaskState("PENDING", "Dependency"))
    assert not is_stuck(TaskState("PENDING", "Priority"))
    for reason in ("JobHeldUser", "JobHeldAdmin", "job requeued in held state"):
        assert not is_stuck(TaskState("PENDING", reason))  # someone wants it to wait
    assert not is_stuck(TaskState("RUNNING", "launch failed"))


@pytest.mark.parametrize(
    ("reason", "hopeless"),
    [
        # From SLURM 22.05: what one job may have, be it alone on the cluster.
        ("QOSMaxGRESPerJob", True),
        ("QOSMaxCpuPerJobLimit", True),
        ("QOSMaxNodePerJobLimit", True),
        ("QOSMaxMemoryPerJob", True),
        ("QOSMaxMemoryPerNode", True),
        ("QOSMaxGRESMinutesPerJob", True),
        ("QOSMaxWallDurationPerJobLimit", True),
        ("QOSMinGRES", True),
        ("AssocMaxGRESPerJob", True),
        ("AssocMaxCpuPerJobLimit", True),
        ("AssocMaxWallDurationPerJobLimit", True),
        ("PartitionTimeLimit", True),
        # What passes when other jobs end, time goes by, or someone says so.
        ("QOSMaxGRESPerUser", False),
        ("QOSMaxCpuPerUserLimit", False),
        ("QOSMaxJobsPerUserLimit", False),
        ("QOSMaxSubmitJobPerUserLimit", False),
        ("QOSGrpGRES", False),
        ("QOSGrpCPUMinutesLimit", False),
        ("AssocMaxJobsLimit", False),
        ("AssocMaxSubmitJobLimit", False),
        ("AssocGrpMemLimit", False),
        ("PartitionDown", False),
        ("JobHeldAdmin", False),
        ("Resources", False),
    ],
)
def test_what_no_job_may_have_is_not_waited_for(reason: str, hopeless: bool) -> None:
    assert is_hopeless(TaskState("PENDING", reason), REQUEST) is hopeless
    assert not is_stuck(TaskState("PENDING", reason))
    assert not is_hopeless(TaskState("RUNNING", reason), REQUEST)


def test_one_of_several_partitions_may_still_start_it() -> None:
    several = Request(1, 1, 0, 240, ClusterSettings("gpu,cpu"))
    assert not is_hopeless(TaskState("PENDING", "PartitionTimeLimit"), several)


def test_a_task_that_saw_its_limit_come_is_judged_as_if_it_had_said_nothing() -> None:
    late = Failure("n", "ran into its limit of 5 minutes; raise --time", late=True)
    out = judge(late, TaskState("OUT_OF_MEMORY"), LONG, REQUEST, False)
    assert out.reason == "ran out of memory (asked for the default); raise --mem-gb"
    assert judge(late, TaskState("TIMEOUT"), LONG, REQUEST, False).kind == "failed"
    assert judge(late, TaskState("TIMEOUT"), LONG, REQUEST, False, renewed=True).kind == "again"

"""The launcher's decisions about tasks, against a scheduler that loses jobs in every way."""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slurm.failures import Failure
from slurm.files import write_text
from slurm.launch.view import View
from slurm.launch.watch import MOST_STARTS, STARTS
from slurm.runs import Run
from slurm.scheduler.commands import TaskState
from tests.slurm.fake_slurm import Lab, chain
from tests.slurm.items import Broken, Number, Steps


def test_every_stage_is_submitted_at_once_and_waits_for_the_one_before(
    lab: Lab, tmp_path: Path
) -> None:
    lab.start(chain(tmp_path / "a"))
    lab.step()
    assert lab.slurm.sizes == [3, 3, 1]
    assert lab.submitter.complete()
    waits = [lab.slurm.after[task] for task in lab.slurm.tasks]
    assert waits == [[], [], [], ["1"], ["1"], ["1"], ["2"]]
    lab.run_all()
    assert lab.slurm.sizes == [3, 3, 1]
    assert (tmp_path / "a" / "table.txt").exists()


def test_only_what_was_lost_is_submitted_again(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(5)])
    lab.step()
    victim = list(lab.slurm.tasks)[3]
    lab.slurm.end(victim, "NODE_FAIL")
    lab.step()
    assert lab.slurm.sizes == [5]  # a requeued copy would be listed again soon
    lab.step(10)
    assert lab.slurm.sizes == [5, 1]
    lab.run_all()


def test_an_item_that_is_always_lost_is_given_up(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    for _ in range(STARTS):
        lab.step()
        (task,) = lab.slurm.tasks
        lab.slurm.vanish(task)
        lab.step()
        lab.step(40)
    assert not lab.watch.open
    assert "no longer known to SLURM" in lab.watch.failures["a/n"].reason
    assert len(lab.slurm.sizes) == STARTS


def lose_again_and_again(lab: Lab, state: str, times: int, before: Callable[[], None]) -> None:
    """The latest task ends in `state`, `times` times, each time after `before`."""
    for _ in range(times):
        lab.step(10)
        (task,) = lab.slurm.tasks
        before()
        lab.slurm.end(task, state)
        lab.step()
        lab.step(10)


def test_interruptions_do_not_end_an_item_that_makes_progress(lab: Lab, tmp_path: Path) -> None:
    item = Steps(tmp_path / "a", "steps", count=2, pause=0)
    item.state.parent.mkdir()
    lab.start([item])
    saved = itertools.count()
    lose_again_and_again(
        lab, "NODE_FAIL", 3 * STARTS, lambda: write_text(item.state, f"0 {next(saved)}")
    )
    assert not lab.watch.failures
    lose_again_and_again(lab, "NODE_FAIL", STARTS - 1, lambda: None)
    assert not lab.watch.failures
    lose_again_and_again(lab, "NODE_FAIL", 1, lambda: None)
    assert f"({4 * STARTS} submissions)" in lab.watch.failures["a/steps"].reason


def test_preemptions_do_not_end_an_item_but_there_is_a_bound(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lose_again_and_again(lab, "PREEMPTED", MOST_STARTS - 1, lambda: None)
    assert not lab.watch.failures
    lose_again_and_again(lab, "PREEMPTED", 1, lambda: None)
    assert "was preempted" in lab.watch.failures["a/n"].reason


def test_a_result_without_a_job_is_done(lab: Lab, tmp_path: Path) -> None:
    """A copy of a task that SLURM gave up may still have finished."""
    item = Number(tmp_path / "a", "n")
    lab.start([item])
    lab.step()
    (task,) = lab.slurm.tasks
    lab.slurm.end(task, "NODE_FAIL")
    item.run()
    lab.step()
    assert not lab.watch.open
    assert not lab.watch.failures


def test_a_failure_blocks_what_needs_it_and_nothing_else(lab: Lab, tmp_path: Path) -> None:
    broken = Broken(tmp_path / "a", "broken", stage="extract")
    middle = Number(tmp_path / "a", "middle", (broken,), stage="fit")
    last = Number(tmp_path / "a", "last", (middle,), stage="table")
    lab.start([last, *chain(tmp_path / "a")])
    lab.run_all()
    assert (tmp_path / "a" / "table.txt").exists()
    reasons = {key: failure.reason for key, failure in lab.watch.failures.items()}
    assert reasons["a/broken"].startswith("ValueError")
    assert reasons["a/middle"] == "needs a/broken, which failed"
    assert reasons["a/last"] == "needs a/middle, which failed"


def test_tasks_that_came_too_early_wait_for_the_second_try_of_what_they_need(
    lab: Lab, tmp_path: Path
) -> None:
    lab.start(chain(tmp_path / "a", width=1))
    lab.step()
    features, fit, table = lab.slurm.tasks
    lab.slurm.end(features, "NODE_FAIL")
    lab.slurm.run(fit)
    lab.slurm.run(table)
    for _ in range(4):
        lab.step(10)
    assert lab.slurm.sizes == [1, 1, 1, 1, 1, 1]
    lab.run_all()
    assert not lab.watch.failures
    assert (tmp_path / "a" / "table.txt").exists()


def test_a_result_that_is_damaged_while_the_run_goes_on_is_computed_again(
    lab: Lab, tmp_path: Path
) -> None:
    lab.start(chain(tmp_path / "a", width=1))
    lab.step()
    for _ in range(2):
        lab.slurm.run(next(iter(lab.slurm.tasks)))
        lab.step()
    (tmp_path / "a" / "features0.txt").write_text("")
    (tmp_path / "a" / "fit0.txt").write_text("")
    lab.run_all()
    assert not lab.watch.failures
    assert (tmp_path / "a" / "table.txt").exists()


def test_a_silent_scheduler_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.start(chain(tmp_path / "a"))
    lab.step()
    lab.slurm.down = True
    for task in list(lab.slurm.tasks)[:3]:
        lab.slurm.run(task)
    for _ in range(5):
        lab.step(1000)
    assert lab.slurm.sizes == [3, 3, 1]
    assert len(lab.watch.open) == 4  # the results were seen all the same
    lab.slurm.down = False
    lab.run_all()
    assert lab.slurm.sizes == [3, 3, 1]


def test_an_accounting_that_is_away_for_a_while_decides_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    (task,) = lab.slurm.tasks
    lab.slurm.end(task, "OUT_OF_MEMORY")
    lab.slurm.accounting_down = True
    for _ in range(4):
        lab.step(60)
    assert lab.slurm.sizes == [1]
    lab.slurm.accounting_down = False
    lab.step()
    assert "ran out of memory" in lab.watch.failures["a/n"].reason


def test_an_accounting_that_stays_away_is_not_waited_for(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    lab.slurm.end(next(iter(lab.slurm.tasks)), "FAILED")
    lab.slurm.accounting_down = True
    for _ in range(7):
        lab.step(60)
    assert lab.slurm.sizes == [1, 1]
    lab.run_all()


def test_stuck_tasks_are_cancelled_and_submitted_again(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    (task,) = lab.slurm.tasks
    lab.slurm.tasks[task] = TaskState("PENDING", "launch failed requeued held", "1_0")
    lab.step()
    assert lab.slurm.past[task].state == "CANCELLED"
    assert lab.slurm.sizes == [1, 1]
    lab.run_all()
    assert not lab.watch.failures


def wait_for(lab: Lab, reason: str) -> None:
    """Every task waits for that."""
    for task, state in lab.slurm.tasks.items():
        lab.slurm.tasks[task] = TaskState("PENDING", reason, state.job)


def test_a_job_that_an_administrator_holds_keeps_its_place(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    wait_for(lab, "JobHeldAdmin")
    for _ in range(3):
        lab.step(3600)
    assert lab.slurm.sizes == [1]
    assert lab.watch.waiting_for() == "JobHeldAdmin"
    lab.run_all()
    assert lab.slurm.sizes == [1]


def test_what_no_job_may_have_is_the_users_to_mend_at_once(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(3)])
    lab.step()
    wait_for(lab, "QOSMaxGRESPerJob")
    lab.step()
    assert not lab.slurm.tasks
    lab.step()
    assert lab.slurm.sizes == [3]
    assert not lab.watch.open
    for failure in lab.watch.failures.values():
        assert failure.mendable
        assert "no task of stage number as it is asked for (QOSMaxGRESPerJob)" in failure.reason
    # Whoever looks at the run later is told that too, not that it was cancelled.
    lab.resume(Run(lab.watch.run.folder))
    lab.watch.look()
    lab.watch.judge_absent(resubmit=False)
    assert {f.reason for f in lab.watch.failures.values()} == {failure.reason}


def test_what_no_job_may_have_is_submitted_again_as_something_else(
    lab: Lab, tmp_path: Path
) -> None:
    lab.start([Number(tmp_path / "a", "n")])
    lab.step()
    wait_for(lab, "QOSMaxCpuPerJobLimit")
    lab.watch.requests = [replace(lab.watch.requests[0], minutes=9)]
    lab.step()
    assert [request.minutes for request in lab.slurm.requests] == [5, 9]
    lab.run_all()
    assert not lab.watch.failures


def test_another_process_takes_up_where_the_first_was(lab: Lab, tmp_path: Path) -> None:
    lab.start(chain(tmp_path / "a"))
    lab.step()
    for task in list(lab.slurm.tasks)[:2]:
        lab.slurm.run(task)
    lab.resume(Run(lab.watch.run.folder))
    lab.run_all()
    assert lab.slurm.sizes == [3, 3, 1]


def test_a_new_launcher_gives_failed_items_another_start(lab: Lab, tmp_path: Path) -> None:
    lab.start([Broken(tmp_path / "a", "broken"), Number(tmp_path / "a", "other")])
    lab.run_all()
    assert list(lab.watch.failures) == ["a/broken"]
    lab.resume(Run(lab.watch.run.folder))
    lab.watch.look()
    lab.watch.forget_ended()
    lab.step()
    assert lab.slurm.sizes == [2, 1]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_whatever_happens(lab: Lab, tmp_path: Path, seed: int) -> None:
    """Tasks die, vanish, run twice or out of order; the launcher is replaced; SLURM is away."""
    chance = random.Random(seed)
    goals = [*chain(tmp_path / "a", width=4), *chain(tmp_path / "b", width=2)]
    lab.start(goals)
    slurm = lab.slurm
    mishaps = 12
    for _ in range(600):
        lab.step(chance.choice([1, 5, 40]))
        if not lab.watch.open:
            break
        for task in chance.sample(sorted(slurm.tasks), k=min(2, len(slurm.tasks))):
            kind = chance.random()
            if kind < 0.4 and mishaps:
                mishaps -= 1
                if kind < 0.1:
                    slurm.end(task, chance.choice(["FAILED", "NODE_FAIL", "PREEMPTED"]))
                elif kind < 0.2:
                    slurm.vanish(task)
                elif kind < 0.25:
                    slurm.refusals.append("Unable to contact slurm controller")
                elif kind < 0.3:
                    lab.resume(Run(lab.watch.run.folder))
                elif kind < 0.35:
                    slurm.down = not slurm.down
                else:
                    slurm.run(task)  # though what it needs may not be there
            elif task in slurm.ready():
                slurm.run(task)
        slurm.down = slurm.down and chance.random() < 0.7
    assert not lab.watch.open
    for key in lab.watch.failures:  # given up only after that many submissions
        assert "submissions" in lab.watch.failures[key].reason or lab.watch.failures[key].blocked
    if not lab.watch.failures:
        assert all(goal.done() for goal in goals)


def test_the_commonest_reason_to_wait_is_said(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.start([Number(tmp_path / "a", f"n{i}") for i in range(4)])
    lab.step()
    reasons = ("None", "Priority", "QOSMaxGRESPerUser", "QOSMaxGRESPerUser")
    for task, reason in zip(list(lab.slurm.tasks), reasons, strict=True):
        lab.slurm.tasks[task] = TaskState("PENDING", reason, lab.slurm.tasks[task].job)
    lab.step()
    assert lab.watch.waiting_for() == "QOSMaxGRESPerUser"
    view = View(lab.watch)
    view.said = -1e9
    view.show()
    assert "number 0/4 done; waiting for QOSMaxGRESPerUser" in capsys.readouterr().err
    for task in list(lab.slurm.tasks):
        lab.slurm.tasks[task] = TaskState("RUNNING", "None", lab.slurm.tasks[task].job)
    lab.step()
    assert lab.watch.waiting_for() == ""


def test_a_failure_names_its_log(lab: Lab, tmp_path: Path) -> None:
    lab.start([Number(tmp_path / "a", "x"), Broken(tmp_path / "a", "y")])
    lab.step()
    for task in list(lab.slurm.tasks):
        lab.slurm.run(task)
    (array,) = lab.watch.arrays.values()
    failure = lab.watch.run.failure(array, 1)
    assert isinstance(failure, Failure)
    assert failure.log.endswith(f"arrays/{array.label}/1_1_0_log.out")

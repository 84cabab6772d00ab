"""What goes wrong on clusters, done to a real one: the sweep ends with every result in place.

Each result is compared with an inline run, byte for byte.
"""

import re
import signal
import time

import pytest

from tests.slurm.items import starts
from tests.slurm.real.conftest import Lab


def progressed(lab: Lab, name: str = "steps0") -> bool:
    """Whether an item has saved some of its steps."""
    return (lab.results / f"{name}.state").exists()


def beginnings(lab: Lab, name: str = "steps0") -> list[int]:
    """The step from which each start of a resumable item went on."""
    return [int(line) for line in (lab.results / f"{name}.from").read_text().split()]


def test_a_task_killed_by_sigkill_is_run_again(lab: Lab) -> None:
    said = lab.run("killed")
    assert "results/killed ended as FAILED" in said
    assert starts(lab.results / "killed.txt") == 2
    assert starts(lab.results / "other.txt") == 1
    lab.check("killed")


def test_a_task_that_always_dies_is_given_up(lab: Lab) -> None:
    said = lab.run("doomed", code=1)
    assert "results/doomed: ended as FAILED" in said
    assert "(4 submissions)" in said
    assert starts(lab.results / "doomed.txt") == 4


def test_a_requeued_task_continues(lab: Lab) -> None:
    launcher = lab.start("steps")
    lab.wait(lambda: progressed(lab), "some progress")
    (job,) = lab.cluster.call("squeue", "-h", "-r", "-t", "R", "-o", "%i %K").splitlines()[:1]
    lab.cluster.call("scontrol", "requeue", job.split()[0])
    lab.end(launcher)
    lab.check("steps")
    again = [name for name in ("steps0", "steps1") if len(beginnings(lab, name)) > 1]
    assert len(again) == 1
    assert beginnings(lab, again[0])[1] > 0


def test_a_task_of_several_processes_saves_and_continues(lab: Lab) -> None:
    """One process has stopped long before the first one has saved."""
    launcher = lab.start("together-steps", "--gpus-per-node", "2")
    lab.wait(lambda: progressed(lab) or launcher.poll() is not None, "some progress")
    (job,) = lab.running()
    lab.cluster.call("scancel", "--signal=USR2", job)
    lab.end(launcher)
    lab.check("together-steps")
    (log,) = (lab.zoo / "runs").rglob("*_0_log.out")
    saved = re.findall(r"saved after step (\d+)", log.read_text())
    assert len(set(saved)) == 1
    assert beginnings(lab) == [0, int(saved[0])]


def test_a_requeued_task_of_several_processes_continues(lab: Lab) -> None:
    launcher = lab.start("together-steps", "--gpus-per-node", "2")
    lab.wait(lambda: progressed(lab) or launcher.poll() is not None, "some progress")
    (job,) = lab.running()
    lab.cluster.call("scontrol", "requeue", job)
    lab.end(launcher)
    lab.check("together-steps")
    first, second = beginnings(lab)
    assert first == 0 < second


def test_preempted_tasks_continue(lab: Lab) -> None:
    launcher = lab.start("full")
    lab.wait(lambda: all(progressed(lab, f"steps{i}") for i in range(6)), "some progress")
    lab.cluster.call(
        "sbatch", "-p", "hi", "-N3", "--exclusive", "-o", "/dev/null", "--wrap=sleep 3"
    )
    lab.end(launcher)
    lab.check("full")
    preempted = [name for i in range(6) if len(beginnings(lab, name := f"steps{i}")) > 1]
    assert preempted
    assert all(beginnings(lab, name)[1] > 0 for name in preempted)


def test_tasks_preempted_with_a_grace_time_continue_though_nobody_watches(lab: Lab) -> None:
    lab.run("steps", "--partition", "grace", "--detach")
    lab.wait(lambda: all(progressed(lab, f"steps{i}") for i in range(2)), "some progress")
    lab.cluster.call(
        "sbatch", "-p", "hi", "-N3", "--exclusive", "-o", "/dev/null", "--wrap=sleep 3"
    )
    lab.wait(lambda: len(list(lab.results.glob("steps*.txt"))) == 2, "the results")
    lab.check("steps")
    assert all(beginnings(lab, f"steps{i}")[1] > 0 for i in range(2))


def test_a_time_limit_is_not_the_end_of_a_resumable_task(lab: Lab) -> None:
    lab.run("limited")
    lab.check("limited")
    assert len(beginnings(lab)) > 1
    assert beginnings(lab) == sorted(set(beginnings(lab)))  # each start went on further


def test_a_time_limit_ends_other_tasks_with_advice(lab: Lab) -> None:
    said = lab.run("endless", code=1)
    assert "results/endless: ran into its limit of 1 minutes; raise --time" in said


def test_a_node_that_dies_for_good(lab: Lab) -> None:
    launcher = lab.start("full")
    lab.wait(lambda: all(progressed(lab, f"steps{i}") for i in range(6)), "some progress")
    lab.cluster.end("slurmd1", signal.SIGKILL)
    try:
        lab.end(launcher)
        lab.check("full")
    finally:
        lab.cluster.start_node(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_controller_is_restarted(lab: Lab, number: signal.Signals) -> None:
    launcher = lab.start("steps")
    lab.wait(lambda: progressed(lab), "some progress")
    lab.cluster.end("slurmctld", number)
    time.sleep(3)
    lab.cluster.start_controller()
    lab.end(launcher)
    lab.check("steps")


def test_the_controller_forgets_jobs_just_submitted(lab: Lab) -> None:
    lab.run("slow-chain", "--detach")
    lab.cluster.end("slurmctld", signal.SIGKILL)
    lab.cluster.start_controller()
    lab.manage("resume", lab.run_name())
    lab.check("slow-chain")


def test_a_killed_launcher_is_resumed(lab: Lab) -> None:
    launcher = lab.start("slow-chain")
    lab.wait(lambda: bool(lab.running()), "a running task")
    launcher.kill()
    launcher.communicate()
    lab.manage("resume", lab.run_name())
    lab.check("slow-chain")
    assert {starts(path) for path in lab.results.glob("*.txt")} == {1}


def test_the_same_command_takes_up_a_killed_launcher(lab: Lab) -> None:
    launcher = lab.start("slow-chain")
    lab.wait(lambda: bool(lab.running()), "a running task")
    launcher.kill()
    launcher.communicate()
    assert "is under way as run" in lab.run("slow-chain")
    lab.check("slow-chain")
    assert {starts(path) for path in lab.results.glob("*.txt")} == {1}


def test_a_launcher_killed_while_it_submits(lab: Lab) -> None:
    launcher = lab.start("slow-chain")
    lab.wait(lambda: bool(list(lab.zoo.glob("runs/*/arrays/*"))), "the first array")
    launcher.kill()
    launcher.communicate()
    lab.manage("resume", lab.run_name())
    lab.check("slow-chain")


def test_a_second_launcher_only_watches(lab: Lab) -> None:
    first = lab.start("slow-chain")
    lab.wait(lambda: bool(lab.running()), "a running task")
    second = lab.start_manage("resume", lab.run_name())
    assert "only watching" in lab.end(second)[1]
    lab.end(first)
    lab.check("slow-chain")
    assert {starts(path) for path in lab.results.glob("*.txt")} == {1}


def test_the_second_launcher_goes_on_when_the_first_dies(lab: Lab) -> None:
    first = lab.start("killed")
    lab.wait(lambda: bool(list(lab.zoo.glob("runs/*/arrays/*.json"))), "the first array")
    second = lab.start_manage("resume", lab.run_name())
    first.kill()
    first.communicate()
    lab.end(second)
    lab.check("killed")


def test_a_result_truncated_by_hand_is_computed_again(lab: Lab) -> None:
    lab.run("chain")
    for name in ("table", "fit11"):
        path = lab.results / f"{name}.txt"
        path.write_text(path.read_text()[:20])
    lab.run("chain")
    lab.check("chain")
    assert starts(lab.results / "fit11.txt") == 2
    assert starts(lab.results / "fit00.txt") == 1


def test_a_result_truncated_while_the_run_goes_on(lab: Lab) -> None:
    launcher = lab.start("slow-chain")
    lab.wait(lambda: (lab.results / "fit00.txt").exists(), "a fit")
    (lab.results / "features0.txt").write_text("")
    (lab.results / "fit00.txt").write_text("")
    lab.end(launcher)
    lab.check("slow-chain")


def test_a_rebuilt_cluster_that_counts_its_jobs_from_one(lab: Lab) -> None:
    lab.run("chain")
    (lab.results / "table.txt").unlink()
    lab.cluster.forget_jobs()
    lab.run("chain")
    lab.check("chain")
    assert starts(lab.results / "table.txt") == 2


def test_a_run_whose_cluster_was_rebuilt_is_resumed(lab: Lab) -> None:
    lab.run("slow-chain", "--detach")
    lab.cluster.forget_jobs()
    # Other jobs now have the numbers of ours.
    for _ in range(3):
        lab.cluster.call("sbatch", "-o", "/dev/null", "--array=0-5", "--wrap=true")
    lab.manage("resume", lab.run_name())
    lab.check("slow-chain")

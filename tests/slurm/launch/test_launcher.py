"""What is checked before anything is submitted, against clusters described by a double."""

import shutil
from pathlib import Path

import pytest

from slurm.errors import SweepError, UserError
from slurm.failures import Failure, write_failure
from slurm.launch.launcher import find_same, run_slurm
from slurm.launch.requests import check_requests
from slurm.runs import find_runs
from slurm.scheduler.commands import Partition, Scheduler, SchedulerDown
from slurm.scheduler.settings import ClusterSettings
from slurm.sweep import Resources, missing_stages
from tests.slurm.fake_slurm import Lab
from tests.slurm.items import Number


class Described(Scheduler):
    """A cluster with GPU nodes for two days and CPU nodes for ever."""

    refused: str | None = None

    def check_installed(self) -> None:
        pass

    def partitions(self) -> dict[str, Partition]:
        return {"gpu": Partition("gpu", 8, 2880), "cpu": Partition("cpu", 0, None)}

    def default_partition(self) -> str | None:
        return "cpu"

    def refusal(self, options: list[str]) -> str | None:
        return self.refused


class Away(Described):
    def partitions(self) -> dict[str, Partition]:
        raise SchedulerDown("Unable to contact slurm controller")


def goals(folder: Path, **resources: int | bool) -> list[Number]:
    return [Number(folder, "n", resources=Resources(**resources))]  # type: ignore[arg-type]


def test_a_sweep_for_gpus_and_cpus(tmp_path: Path) -> None:
    """The README's settings: probes on all GPUs of a node, other stages elsewhere."""
    one = Resources(gpus=1)
    all_of_a_node = Resources(gpus=1, distributed=True, minutes=9999)
    sweep = [
        Number(tmp_path, "a", stage="svm", resources=one),
        Number(tmp_path, "b", stage="probe", resources=all_of_a_node),
    ]
    settings = ClusterSettings("gpu", gpus_per_node=8, stages={"svm": {"partition": "cpu"}})
    requests = check_requests(Described(), settings, missing_stages(sweep))
    found = {request.settings.partition: request for request in requests}
    assert (found["cpu"].gpus_per_node, found["cpu"].tasks_per_node) == (0, 1)
    assert (found["gpu"].gpus_per_node, found["gpu"].tasks_per_node) == (8, 8)
    assert found["gpu"].minutes == 2880  # what the item would like is cut to the partition's limit


@pytest.mark.parametrize("distributed", [False, True])
def test_more_gpus_than_any_node_has(tmp_path: Path, distributed: bool) -> None:
    settings = ClusterSettings("gpu", gpus_per_node=9)
    stages = missing_stages(goals(tmp_path, gpus=1, distributed=distributed))
    with pytest.raises(UserError, match="asks for 9 GPUs per node, but no node of gpu has more"):
        check_requests(Described(), settings, stages)


def test_an_unknown_partition_of_one_stage(tmp_path: Path) -> None:
    settings = ClusterSettings("cpu", stages={"number": {"partition": "gpus"}})
    with pytest.raises(UserError, match="unknown partition 'gpus'; did you mean gpu"):
        check_requests(Described(), settings, missing_stages(goals(tmp_path)))


@pytest.mark.parametrize("named", ["gpu,", ",", ""])
def test_a_partition_without_a_name(tmp_path: Path, named: str) -> None:
    with pytest.raises(UserError, match="unknown partition ''; known: gpu, cpu"):
        check_requests(Described(), ClusterSettings(named), missing_stages(goals(tmp_path)))


def test_a_time_that_no_partition_allows(tmp_path: Path) -> None:
    stages = missing_stages(goals(tmp_path))
    settings = ClusterSettings("gpu", time=2881)
    with pytest.raises(UserError, match="asks for 2881 minutes, but gpu allows no more than 2880"):
        check_requests(Described(), settings, stages)
    for allowed in (ClusterSettings("gpu", time=2880), ClusterSettings("gpu,cpu", time=2881)):
        assert check_requests(Described(), allowed, stages)[0].minutes == allowed.time


def test_a_misspelt_stage(tmp_path: Path) -> None:
    for name in ("number", "probe", "low_shot_svm"):  # of this sweep, and of other commands
        with pytest.raises(SweepError, match="does not answer"):
            run_slurm(
                goals(tmp_path),
                tmp_path / "runs",
                ClusterSettings(stages={name: {}}),
                scheduler=Away(),
            )
    with pytest.raises(UserError, match=r"unknown stage in .* 'prob'; did you mean probe"):
        run_slurm(
            goals(tmp_path),
            tmp_path / "runs",
            ClusterSettings(stages={"prob": {}}),
            scheduler=Described(),
        )


def test_a_stage_that_is_done_already_is_no_misspelt_one(tmp_path: Path) -> None:
    done = Number(tmp_path, "done", stage="first")
    done.run()
    goal = Number(tmp_path, "goal", (done,), stage="second")
    settings = ClusterSettings(stages={"first": {}})
    with pytest.raises(SweepError, match="does not answer"):
        run_slurm([goal], tmp_path / "runs", settings, scheduler=Away())


def test_a_zoo_that_slurm_would_read_as_a_pattern(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"50%/runs as a pattern; name another --zoo"):
        run_slurm(
            goals(tmp_path), tmp_path / "50%" / "runs", ClusterSettings(), scheduler=Described()
        )


def test_what_slurm_would_refuse_is_said_before(tmp_path: Path) -> None:
    scheduler = Described()
    scheduler.refused = "Invalid account"
    with pytest.raises(UserError, match=r"SLURM would refuse .*--account=x.*: Invalid account"):
        run_slurm(
            goals(tmp_path), tmp_path / "runs", ClusterSettings(account="x"), scheduler=scheduler
        )
    assert not list((tmp_path / "runs").iterdir())


def test_a_cluster_that_is_away_is_no_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="SLURM does not answer: Unable to contact"):
        run_slurm(goals(tmp_path), tmp_path / "runs", ClusterSettings(), scheduler=Away())


def test_a_machine_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="no sbatch on the PATH"):
        run_slurm(goals(tmp_path), tmp_path / "runs", ClusterSettings())


def test_nothing_is_asked_when_all_is_done(tmp_path: Path) -> None:
    sweep = goals(tmp_path)
    sweep[0].run()
    run_slurm(sweep, tmp_path / "runs", ClusterSettings(), scheduler=Away())
    assert not (tmp_path / "runs").exists()


def test_a_repeated_command_is_taken_at_its_word(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was too little for one item is raised while the tasks of others go on."""
    sweep = [Number(tmp_path / "a", f"n{i}") for i in range(4)]
    small, large = ClusterSettings(mem_gb=1, time=5), ClusterSettings(mem_gb=8, time=60)
    run_slurm(sweep, lab.runs, small, detach=True, scheduler=lab.slurm)
    first, second, *others = lab.slurm.tasks
    lab.slurm.end(first, "OUT_OF_MEMORY")
    capsys.readouterr()
    run_slurm(sweep, lab.runs, large, threads=2, detach=True, scheduler=lab.slurm)
    assert "number: tasks that are submitted from now on ask for --time=60" in (
        said := capsys.readouterr().err
    )
    assert "--mem=8GB" in said
    assert [(r.minutes, r.settings.mem_gb) for r in lab.slurm.requests] == [(5, 1), (60, 8)]
    assert set(others) < set(lab.slurm.tasks)  # they are left alone
    (run,) = find_runs(lab.runs)
    assert run.manifest.threads == 2

    # Whoever resumes the run, or follows it, does so with these settings.
    lab.resume(run)
    lab.step()
    _, place, label, index = lab.slurm.work[second]
    key = run.load_item(place).key
    late = Failure(key, "ran into its limit of 5 minutes; raise --time", late=True)
    write_failure(run.failure_file(label, index), late)  # as the task itself does
    lab.slurm.end(second, "TIMEOUT")
    lab.step()
    lab.step()
    assert not lab.watch.failures
    assert [(r.minutes, r.settings.mem_gb) for r in lab.slurm.requests[2:]] == [(60, 8)]
    lab.slurm.end(list(lab.slurm.tasks)[-1], "TIMEOUT")
    lab.step()
    (failure,) = lab.watch.failures.values()
    assert failure.reason == "ran into its limit of 60 minutes; raise --time"


def test_settings_that_the_submitting_process_does_not_take_are_named(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = [Number(tmp_path / "a", "n")]
    run_slurm(sweep, lab.runs, ClusterSettings(), detach=True, scheduler=lab.slurm)
    (run,) = find_runs(lab.runs)
    run.renew_launcher("another")
    run_slurm(sweep, lab.runs, ClusterSettings(), detach=True, scheduler=lab.slurm)
    assert "goes on with" not in capsys.readouterr().err
    run_slurm(sweep, lab.runs, ClusterSettings(time=9), detach=True, scheduler=lab.slurm)
    assert "goes on with the settings that it was started with" in capsys.readouterr().err


def test_a_sweep_under_way_is_found_however_many_came_after_it(lab: Lab, tmp_path: Path) -> None:
    """Else the same command would submit everything a second time."""
    for number in range(25):
        lab.start([Number(tmp_path / str(number), "n")], name=str(number))
        lab.step()
    for number in range(25):
        found = find_same(lab.runs, str(number), lab.slurm)
        assert found is not None
        assert found.manifest.stages[0].keys == [f"{number}/n"]
    lab.slurm.tasks.clear()
    assert find_same(lab.runs, "24", lab.slurm) is None

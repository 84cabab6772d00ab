"""Sweeps on a real SLURM that nothing disturbs, and what users see of them."""

import json
from pathlib import Path

import pytest

from tests.slurm.items import starts
from tests.slurm.real.conftest import Lab


def test_arrays_with_dependencies_leave_what_inline_leaves(lab: Lab) -> None:
    said = lab.run("chain")
    lab.check("chain")
    assert said.count("submitted as job") == 3
    assert all(starts(path) == 1 for path in lab.results.glob("*.txt"))
    assert "submitted" not in lab.run("chain")  # nothing is left to do


def test_arrays_are_split_to_what_the_cluster_takes(lab: Lab) -> None:
    said = lab.run("many", "--array-parallelism", "6")
    lab.check("many")
    assert [line.split()[1] for line in said.splitlines() if "submitted" in line] == [
        "20",
        "20",
        "5",
    ]


def test_the_same_items_on_this_machine(lab: Lab) -> None:
    lab.end(lab.start("chain", "--jobs", "2", cluster="local"))
    lab.check("chain")


def test_detached_runs_are_followed_by_status(lab: Lab) -> None:
    lab.run("slow-chain", "--detach")
    name = lab.run_name()
    assert name in lab.manage("list")
    header, *rows = lab.manage("status", name).splitlines()[1:5]
    assert header.split() == ["stage", "items", "done", "running", "waiting", "failed"]
    assert [row.split()[:2] for row in rows] == [["extract", "3"], ["fit", "6"], ["table", "1"]]
    lab.wait(lambda: (lab.results / "table.txt").exists(), "the table")
    table = lab.manage("status", name).splitlines()[4]
    assert table.split() == ["table", "1", "1", "0", "0", "0"]
    lab.check("slow-chain")


def test_the_rest_finishes_when_one_item_fails(lab: Lab) -> None:
    said = lab.run("broken", code=1)
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: 2 item(s) failed: results/broken: ValueError: this item is")
    assert "results/blocked: needs results/broken, which failed" in last
    log = Path(last.split("(log: ")[1].split(")")[0])
    assert "Traceback" in log.read_text()
    assert (lab.results / "table.txt").exists()
    assert not (lab.results / "blocked.txt").exists()
    status = lab.manage("status", lab.run_name())
    assert "failed: results/broken: ValueError: this item is broken in two lines" in status
    assert str(log) in status
    before = starts(lab.results / "broken.txt")
    lab.end(lab.start_manage("resume", lab.run_name()), 1)
    assert starts(lab.results / "broken.txt") == before + 1


def test_a_mistake_of_the_user_is_one_line_and_exit_2(lab: Lab) -> None:
    said = lab.run("misused", code=2)
    assert said.strip().splitlines()[-1] == "error: the data folder is empty; fill it"


def test_a_task_sees_its_gpus_and_threads_and_that_it_is_one(lab: Lab) -> None:
    lab.run("shows", "--gpus-per-node", "2", "--cpus-per-task", "1")
    omp, mkl, gpus, _, in_job = (lab.results / "shows.seen").read_text().split(" ")
    assert (omp, mkl) == ("1", "1")
    assert gpus == "0,1"
    assert in_job == "True"


def test_a_distributed_task_meets_across_nodes(lab: Lab) -> None:
    lab.run("together", "--gpus-per-node", "2", "--nodes", "2", "--mem-gb", "2")
    assert (lab.results / "together.world").read_text() == "4 6"


def test_settings_in_a_file(lab: Lab) -> None:
    config = lab.root / "cluster.toml"
    config.write_text(
        'partition = "main"\ntime = 7\narray_parallelism = 3\n'
        '[sbatch]\nnice = 5\n[stages.fit]\npartition = "hi"\ntime = 3\n'
    )
    lab.run("chain", "--cluster-config", str(config))
    lab.check("chain")
    ran = lab.cluster.call(
        "sacct", "-n", "-X", "-P", "-o", "Partition,TimelimitRaw", "-S", "now-1hour"
    )
    scripts = [path.read_text() for path in (lab.zoo / "runs").rglob("*_submission.sh")]
    assert sum("--partition=hi" in script and "--time=3" in script for script in scripts) == 1
    assert all("--nice=5" in script for script in scripts)
    assert sum("%3" in script for script in scripts) == 2, ran


def test_cancel_and_resume(lab: Lab) -> None:
    launcher = lab.start("steps")
    lab.wait(lambda: (lab.results / "steps0.state").exists(), "some progress")
    name = lab.run_name()
    lab.manage("cancel", name)
    assert "was cancelled" in lab.end(launcher, 1)[1]
    assert f"{name} (cancelled)" in lab.manage("status", name)
    lab.manage("resume", name)  # also while the cancelled jobs are not quite gone
    lab.check("steps")
    assert int((lab.results / "steps0.from").read_text().split()[-1]) >= 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--partition", "mian"), "unknown partition 'mian'; did you mean main?"),
        (("--gpus-per-node", "3"), "no node of main has more than 2"),
        (("--mem-gb", "900"), "Requested node configuration is not available"),
        (("--cluster-config", "nowhere.toml"), "cannot read --cluster-config nowhere.toml"),
        (("--sbatch", "array=1"), "'array' is set by the launcher"),
        (("--sbatch", "constraint"), "write KEY=VALUE"),
        (("--sbatch", "nonsense=1"), "nonsense"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_submitted(
    lab: Lab, flags: tuple[str, ...], message: str
) -> None:
    said = lab.run("shows", *flags, code=2)
    (line,) = said.strip().splitlines()
    assert message in line
    assert not list(lab.zoo.glob("runs/*"))


def test_an_unwritable_zoo_is_one_line(lab: Lab) -> None:
    lab.zoo.write_text("a file where a folder should be")
    (line,) = lab.run("chain", code=2).strip().splitlines()
    assert "cannot write in" in line


def test_no_such_run_is_one_line(lab: Lab) -> None:
    lab.run("chain", "--detach")
    error = lab.end(lab.start_manage("status", lab.run_name()[:-1]), 2)[1]
    assert "did you mean" in error
    lab.wait(lambda: (lab.results / "table.txt").exists(), "the table")


def test_the_manifest_says_how_the_run_was_started(lab: Lab) -> None:
    lab.run("chain")
    manifest = json.loads((lab.zoo / "runs" / lab.run_name() / "manifest.json").read_text())
    assert "tests.slurm.real.program chain" in manifest["command"]
    assert [stage["name"] for stage in manifest["stages"]] == ["extract", "fit", "table"]

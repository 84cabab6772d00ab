"""What reaches sbatch: its script and its environment, seen by a fake one."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from slurm.launch import submission
from slurm.launch.submission import Refused, submit_array
from slurm.scheduler.settings import ClusterSettings, Request

OF_A_JOB = {
    "SLURM_JOB_ID": "1",
    "SLURM_CPU_BIND": "none",
    "SUBMITIT_LOCAL_GLOBALID": "0",
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "3",
    "MASTER_ADDR": "elsewhere",
    "MASTER_PORT": "1",
}
OF_A_USER = {
    "SBATCH_JOB_NAME": "mine",
    "SBATCH_PARTITION": "theirs",
    "SBATCH_TIMELIMIT": "1",
    "SBATCH_ARRAY_INX": "0-3",
    "SBATCH_EXPORT": "NONE",
    "SBATCH_NO_REQUEUE": "1",
}

HEADER = "NAME|ARRAY_TASK_ID|STATE|JOBID|REASON"  # all that squeue prints of an empty queue


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a run, with an sbatch on the PATH that takes everything as job 7."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    answer(tmp_path, f"env >{tmp_path}/seen; cp $1 {tmp_path}/script; echo Submitted batch job 7")
    program(bin_folder / "srun", "true")
    queue(tmp_path, f"{HEADER}\n")
    monkeypatch.setattr(submission, "LISTED_SECONDS", 0.0)
    return tmp_path


def answer(folder: Path, action: str) -> None:
    program(folder / "bin" / "sbatch", action)


def queue(folder: Path, lines: str, code: int = 0) -> None:
    """What squeue says."""
    (folder / "queue").write_text(lines)
    program(folder / "bin" / "squeue", f"cat {folder}/queue; exit {code}")


def program(path: Path, action: str) -> None:
    path.write_text(f"#!/bin/sh\n{action}\n")
    path.chmod(0o755)


def submit(folder: Path, tasks: int = 2, settings: ClusterSettings | None = None) -> str:
    request = Request(1, 1, 0, 30, settings or ClusterSettings())
    places = [(0, task) for task in range(tasks)]
    return submit_array(folder / "run", "0-0-a", "run.0-0-a", request, places, ["5"], None)


def seen(folder: Path, names: Mapping[str, str]) -> dict[str, str]:
    """The variables among `names` that reached sbatch."""
    lines = (folder / "seen").read_text().splitlines()
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, _, value in pairs if name in names}


def test_the_script(folder: Path) -> None:
    assert submit(folder) == "7"
    script = (folder / "script").read_text()
    assert "#SBATCH --array=0-1%2" in script
    assert "#SBATCH --dependency=afterany:5" in script
    assert "#SBATCH --requeue" in script
    assert " --kill-on-bad-exit=1 --wait=600 " in script


@pytest.mark.parametrize("variables", [OF_A_JOB, OF_A_USER])
def test_variables_that_would_change_the_job_are_hidden(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    submit(folder)
    assert seen(folder, variables) == {}
    assert variables.items() <= os.environ.items()  # they are back


def test_defaults_of_the_user_hold_where_the_settings_say_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {"SBATCH_ACCOUNT": "mine", "SBATCH_QOS": "long", "SLURM_CONF": "/etc/slurm.conf"}
    for name, value in defaults.items():
        monkeypatch.setenv(name, value)
    submit(folder)
    assert seen(folder, defaults) == defaults
    submit(folder, settings=ClusterSettings(account="theirs", sbatch={"qos": "short"}))
    assert seen(folder, defaults) == {"SLURM_CONF": "/etc/slurm.conf"}


@pytest.mark.parametrize("tasks", [1, 2])
def test_an_sbatch_that_does_not_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tasks: int
) -> None:
    answer(folder, "sleep 60")
    monkeypatch.setattr(submission, "SBATCH_SECONDS", 1)
    with pytest.raises(Refused, match="gave no answer in 1 s") as caught:
        submit(folder, tasks)
    assert caught.value.busy
    assert caught.value.unreachable


def test_a_refusal_says_why(folder: Path) -> None:
    answer(folder, "echo 'sbatch: error: Invalid account' >&2; exit 1")
    with pytest.raises(Refused, match="Invalid account") as caught:
        submit(folder)
    assert not caught.value.busy


BANNER = """\
*** Welcome to Camelot ***   2,048 GPUs in 256 nodes
Your project has used 1234 of 5000 hours; job 99 of yours was preempted.
|| maintenance | on 12 June ||
"""


@pytest.mark.parametrize(
    "said",
    [
        "7",
        "7;tc",
        "  7;tc  ",
        "Submitted batch job 7 on cluster tc",
        "sbatch: Submitted batch job 7",
        "\x1b[32mSubmitted batch job 7\x1b[0m",
        "JobID: 7",
        f"{BANNER}7",
        f"{BANNER}7;tc\nGood luck!",
        f"{BANNER}Submitted batch job 7\n{BANNER}",
        "Submitted batch job 7\n2024",
        "7\r",
    ],
)
@pytest.mark.parametrize("stream", ["", " >&2"])
@pytest.mark.parametrize("tasks", [1, 2])
def test_however_sbatch_tells_the_number(folder: Path, said: str, stream: str, tasks: int) -> None:
    (folder / "said").write_text(said)
    answer(folder, f"cat {folder}/said{stream}")
    queue(folder, "run.0-0-a|0|PENDING|7_0|None\n")
    assert submit(folder, tasks) == "7"
    work = [path.name for path in (folder / "run/arrays/0-0-a").glob("*_submitted.pkl")]
    assert sorted(work) == (
        ["7_submitted.pkl"] if tasks == 1 else ["7_0_submitted.pkl", "7_1_submitted.pkl"]
    )


@pytest.mark.parametrize("said", ["", BANNER, "1\n2", "Bienvenue \udce9"])
@pytest.mark.parametrize("code", [0, 1])
def test_the_queue_tells_the_number_when_sbatch_does_not(
    folder: Path, said: str, code: int
) -> None:
    """Also after an error: `Socket timed out` says nothing of what the controller did."""
    (folder / "said").write_bytes(said.encode(errors="surrogateescape"))
    answer(folder, f"cat {folder}/said; exit {code}")
    others = "run.0-0-ab|0|PENDING|5_0|None\nother|N/A|RUNNING|6|None\n"
    queue(folder, f"{BANNER}{others}run.0-0-a|1|PENDING|31_1|None\n")
    assert submit(folder) == "31"


def test_a_job_that_the_queue_shows_late(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(folder, "true")
    monkeypatch.setattr(submission, "LISTED_SECONDS", 2.0)
    queue(folder, "run.0-0-a|1|PENDING|31_1|None\n")
    program(
        folder / "bin" / "squeue",
        f"echo '{HEADER}'; test -e {folder}/asked && cat {folder}/queue; touch {folder}/asked",
    )
    assert submit(folder) == "31"


def test_an_sbatch_that_says_nothing_and_does_nothing(folder: Path) -> None:
    answer(folder, "echo All is well")
    with pytest.raises(Refused, match="told no number of a job, but 'All is well'") as caught:
        submit(folder)
    assert not caught.value.lost
    assert not caught.value.busy


def test_a_submission_that_nobody_knows_of_is_lost(folder: Path) -> None:
    answer(folder, "true")
    queue(folder, "squeue: maintenance\n")
    with pytest.raises(Refused, match=r"cannot be asked for the job .*maintenance") as caught:
        submit(folder)
    assert caught.value.lost
    assert caught.value.busy
    assert caught.value.unreachable


def test_a_queue_that_prints_nothing_does_not_say_that_there_is_no_job(folder: Path) -> None:
    answer(folder, "true")
    queue(folder, "")
    with pytest.raises(Refused, match="squeue ended well but printed nothing") as caught:
        submit(folder)
    assert caught.value.lost


def test_options_reach_sbatch_as_they_were_given(folder: Path) -> None:
    given = {"constraint": "a100&ib|(big nodes)", "comment_": "it's", "exclusive": True, "nice": 5}
    settings = ClusterSettings(sbatch=given)
    request = Request(1, 1, 0, 10, settings)
    submit_array(folder / "run", "a-0", "name", request, [(0, 0)], (), None)
    lines = (folder / "script").read_text().splitlines()
    words = [shlex.split(line)[1:] for line in lines if line.startswith("#SBATCH")]
    assert ["--constraint=a100&ib|(big nodes)"] in words
    assert ["--comment-=it's"] in words
    assert ["--exclusive"] in words
    assert ["--nice=5"] in words

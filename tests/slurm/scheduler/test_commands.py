"""What SLURM's commands print, read back; the texts are from SLURM 22.05."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm.errors import UserError
from slurm.scheduler.commands import (
    Scheduler,
    SchedulerDown,
    TaskId,
    gpus_in,
    indices_in,
    is_down,
    minutes_in,
)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, for commands that print what a test wants."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def command(folder: Path, name: str, out: str = "", error: str = "", code: int = 0) -> None:
    path = folder / name
    path.write_text(
        f"#!/bin/sh\n/bin/cat <<'E'\n{out}\nE\n/bin/cat >&2 <<'E'\n{error}\nE\nexit {code}\n"
    )
    path.chmod(0o755)


def test_live_tasks_are_those_of_the_run(commands: Path) -> None:
    command(
        commands,
        "squeue",
        "r1.0-a|3|RUNNING|7_3|None\nr1.0-a|4|PENDING|7_4|JobArrayTaskLimit\n"
        "r1.1-b|N/A|PENDING|8|Dependency\nr2.0-a|1|RUNNING|9_1|None\nother|N/A|RUNNING|1|None",
    )
    live = Scheduler().live("r1.")
    assert set(live) == {TaskId("r1.0-a", 3), TaskId("r1.0-a", 4), TaskId("r1.1-b", 0)}
    assert live[TaskId("r1.0-a", 4)].reason == "JobArrayTaskLimit"
    assert live[TaskId("r1.1-b", 0)].job == "8"


def test_an_error_of_squeue_is_not_an_empty_queue(commands: Path) -> None:
    command(commands, "squeue", error="slurm_load_jobs error: Unable to contact slurm", code=1)
    with pytest.raises(SchedulerDown, match="Unable to contact"):
        Scheduler().live("r1.")


def test_the_accounting_of_another_job_with_our_number_is_ignored(commands: Path) -> None:
    command(
        commands,
        "sacct",
        "7_0|r1.0-a|COMPLETED|0:0\n7_1|r1.0-a|CANCELLED by 0|0:15\n8_0|old.0-c|FAILED|1:0\n"
        "9|r1.1-b|TIMEOUT|0:0\n7_[3-4,6%2]|r1.0-a|CANCELLED by 0|0:0",
    )
    ended = Scheduler().ended({"7": "r1.0-a", "8": "r1.0-x", "9": "r1.1-b"})
    assert {task: state.state for task, state in ended.items()} == {
        TaskId("r1.0-a", 0): "COMPLETED",
        TaskId("r1.0-a", 1): "CANCELLED",
        TaskId("r1.0-a", 3): "CANCELLED",
        TaskId("r1.0-a", 4): "CANCELLED",
        TaskId("r1.0-a", 6): "CANCELLED",
        TaskId("r1.1-b", 0): "TIMEOUT",
    }


def test_a_cluster_without_accounting_knows_nothing(commands: Path) -> None:
    assert Scheduler().ended({"7": "r1.0-a"}) == {}
    command(commands, "sacct", error="Slurm accounting storage is disabled", code=1)
    assert Scheduler().ended({"7": "r1.0-a"}) == {}


def test_an_accounting_that_is_away_is_not_an_empty_one(commands: Path) -> None:
    command(commands, "sacct", error="sacct: error: Problem talking to the database", code=1)
    with pytest.raises(SchedulerDown, match="talking to the database"):
        Scheduler().ended({"7": "r1.0-a"})


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ("MaxArraySize            = 1001\nMaxJobCount             = 10000", 1001),
        ("MaxArraySize            = 100001\nMaxJobCount             = 5000", 5000),
        (
            "MaxArraySize            = 1001\nMaxJobCount             = 10000\n"
            "SchedulerParameters     = bf_interval=1,max_array_tasks=300,defer",
            300,
        ),
        ("MaxArraySize            = 0\nMaxJobCount             = 10000", 1),
        ("", 1001),
    ],
)
def test_the_largest_array(commands: Path, config: str, size: int) -> None:
    command(commands, "scontrol", config)
    assert Scheduler().max_array_size() == size


def test_questions_are_not_narrowed_by_the_users_variables(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (commands / "squeue").write_text(
        "#!/bin/sh\n"
        'test -z "$SQUEUE_PARTITION$SLURM_CLUSTERS" && echo "r1.0-a|0|RUNNING|7_0|None"\n'
    )
    (commands / "squeue").chmod(0o755)
    monkeypatch.setenv("SQUEUE_PARTITION", "gpu")
    monkeypatch.setenv("SLURM_CLUSTERS", "other")
    assert len(Scheduler().live("r1.")) == 1


@pytest.mark.parametrize("name", ["SLURM_CLUSTERS", "SBATCH_CLUSTERS"])
def test_other_clusters_are_refused(
    commands: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for program in ("sbatch", "squeue", "srun", "scancel"):
        command(commands, program)
    Scheduler().check_installed()
    monkeypatch.setenv(name, "east,west")
    with pytest.raises(UserError, match=f"{name}=east,west names other clusters: unset it"):
        Scheduler().check_installed()


def test_partitions(commands: Path) -> None:
    command(
        commands,
        "sinfo",
        "gpu|gpu:a100:8(S:0-1)|2-00:00:00\ngpu|gpu:2|2-00:00:00\ncpu|(null)|infinite",
    )
    partitions = Scheduler().partitions()
    assert (partitions["gpu"].gpus, partitions["gpu"].minutes) == (8, 2880)
    assert (partitions["cpu"].gpus, partitions["cpu"].minutes) == (0, None)


def test_no_sbatch_is_the_users_to_mend(commands: Path) -> None:
    with pytest.raises(UserError, match=r"no sbatch on the PATH.*--cluster local"):
        Scheduler().check_installed()


def test_a_refusal_is_one_line(commands: Path) -> None:
    command(
        commands,
        "sbatch",
        error="sbatch: error: invalid partition specified: x\nallocation failure: Invalid",
        code=1,
    )
    refusal = Scheduler().refusal(["--partition=x"])
    assert refusal == "invalid partition specified: x; allocation failure: Invalid"


POLICY = (
    "allocation failure: Job violates accounting/QOS policy (job submit limit, user's size and/or "
    "time limits)"
)


@pytest.mark.parametrize(
    ("reason", "refused"),
    [
        ("AssocMaxSubmitJobLimit", False),
        ("AssocGrpSubmitJobsLimit", False),
        ("QOSMaxSubmitJobPerUserLimit", False),
        ("QOSMaxSubmitJobPerAccountLimit", False),
        ("QOSGrpSubmitJobsLimit", False),
        ("QOSMaxWallDurationPerJobLimit", True),
        ("QOSMaxNodePerJobLimit", True),
        ("AssocMaxCpuPerJobLimit", True),
    ],
)
def test_a_limit_of_jobs_that_is_reached_now_is_no_refusal(
    commands: Path, reason: str, refused: bool
) -> None:
    """The launcher waits for room; sizes that a job may never have are refused."""
    command(commands, "sbatch", error=f"sbatch: error: {reason}\n{POLICY}", code=1)
    assert Scheduler().refusal(["--time=5"]) == (f"{reason}; {POLICY}" if refused else None)


@pytest.mark.parametrize(
    ("gres", "count"),
    [("gpu:2", 2), ("gpu:a100:8(S:0-1)", 8), ("(null)", 0), ("nvme:1,gpu:a:2,gpu:b:4", 6)],
)
def test_gpus_of_a_node(gres: str, count: int) -> None:
    assert gpus_in(gres) == count


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("infinite", None), ("30:00", 30), ("12:00:00", 720), ("1-02:30:00", 1590)],
)
def test_time_limits(limit: str, minutes: int | None) -> None:
    assert minutes_in(limit) == minutes


@pytest.mark.parametrize(
    ("text", "indices"),
    [("", [0]), ("3", [3]), ("[3-5]", [3, 4, 5]), ("[0,7-8%2]", [0, 7, 8])],
)
def test_the_tasks_of_an_array(text: str, indices: list[int]) -> None:
    assert indices_in(text) == indices


def test_cancelling_says_what_went_wrong(commands: Path) -> None:
    assert "no scancel" in Scheduler().cancel(["7"])
    command(commands, "scancel", error="scancel: error: Access denied", code=1)
    assert Scheduler().cancel(["7"]) == "scancel: error: Access denied"
    command(commands, "scancel")
    assert Scheduler().cancel(["7"]) == ""


def test_jobs_that_cannot_be_cancelled(commands: Path) -> None:
    command(commands, "squeue", "r1.0-a|3|RUNNING|7_3|None")
    command(commands, "scancel", error="scancel: error: Access denied", code=1)
    with pytest.raises(SchedulerDown, match="Access denied"):
        Scheduler().cancel_all("r1.", seconds=0.1)


def test_what_is_submitted_while_we_cancel_is_cancelled_too(commands: Path) -> None:
    """The queue shows job 7, after the first scancel job 8, then nothing but what is ending."""
    queue, count = commands / "queue", commands / "count"
    (commands / "squeue").write_text(f"#!/bin/sh\n/bin/cat {queue}.$(/usr/bin/wc -l <{count})\n")
    (commands / "scancel").write_text(f'#!/bin/sh\necho "$@" >>{count}\n')
    for name in ("squeue", "scancel"):
        (commands / name).chmod(0o755)
    count.touch()
    Path(f"{queue}.0").write_text("r1.0-a|3|RUNNING|7_3|None\n")
    Path(f"{queue}.1").write_text("r1.0-a|3|COMPLETING|7_3|None\nr1.1-a|3|PENDING|8_3|None\n")
    Path(f"{queue}.2").write_text("r1.0-a|3|COMPLETING|7_3|None\n")
    assert Scheduler().cancel_all("r1.") == 2
    assert count.read_text() == "7\n8\n"


def test_what_can_be_tried_again() -> None:
    assert is_down("sbatch: error: Batch job submission failed: Socket timed out on send/recv")
    assert not is_down("Batch job submission failed: Invalid account or account/partition")


# What sites print around answers: notices, rules, tables of their own, and SLURM's own headers.
AROUND = (
    "CLUSTER: tc",
    "*** Welcome to Camelot ***",
    "|| maintenance | on | 12 June ||",
    "a|b",
    "a|b|c|d|e|f|g",
    "Your project: 1234 of 5000 hours",
    "-----+-----",
    "\udce9t\udce9",
)


def printed(commands: Path, name: str, lines: list[str]) -> None:
    """Let a command print these lines, in whatever encoding."""
    content = "\n".join(lines) + "\n"
    (commands / f"{name}.said").write_bytes(content.encode(errors="surrogateescape"))
    (commands / name).write_text(f"#!/bin/sh\n/bin/cat {commands / name}.said\n")
    (commands / name).chmod(0o755)


ANSWERS: dict[str, tuple[list[str], Callable[[], object]]] = {
    "squeue": (
        ["r1.0-a|3|RUNNING|7_3|None", "r1.1-b|N/A|PENDING|8|Dependency", "x|y|N/A|RUNNING|9|None"],
        lambda: Scheduler().live("r1."),
    ),
    "sinfo": (
        ["gpu|gpu:a100:8(S:0-1)|2-00:00:00", "cpu|(null)|infinite"],
        lambda: Scheduler().partitions(),
    ),
    "sacct": (
        ["7_0|r1.0-a|CANCELLED by 0|0:15", "7_[3-4,6%2]|r1.0-a|COMPLETED|0:0"],
        lambda: Scheduler().ended({"7": "r1.0-a"}),
    ),
    "scontrol": (
        ["MaxArraySize            = 321", "MaxJobCount             = 10000"],
        lambda: Scheduler().max_array_size(),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
@given(data=st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_of_another_form_are_ignored(commands: Path, name: str, data: st.DataObject) -> None:
    answer, ask = ANSWERS[name]
    printed(commands, name, answer)
    plain = ask()
    lines = list(answer)
    for noise in data.draw(st.lists(st.sampled_from(AROUND), min_size=1, max_size=4)):
        lines.insert(data.draw(st.integers(0, len(lines))), noise)
    printed(commands, name, lines)
    assert ask() == plain


@pytest.mark.parametrize("name", ANSWERS)
def test_only_lines_of_another_form_are_no_answer(commands: Path, name: str) -> None:
    printed(commands, name, list(AROUND))
    with pytest.raises(SchedulerDown, match=f"no line that {name} printed is of the form") as down:
        ANSWERS[name][1]()
    assert "'CLUSTER: tc'" in str(down.value)


@pytest.mark.parametrize("name", ["squeue", "sinfo", "sacct"])
@pytest.mark.parametrize("said", ["", " \n\n", "\r"])
def test_nothing_at_all_is_no_empty_table(commands: Path, name: str, said: str) -> None:
    """What runs would be taken for gone, and submitted a second time."""
    printed(commands, name, [said])
    with pytest.raises(SchedulerDown, match=f"{name} ended well but printed nothing"):
        ANSWERS[name][1]()


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("squeue", "NAME|ARRAY_TASK_ID|STATE|JOBID|REASON"),
        ("sacct", "JobID|JobName|State|ExitCode"),
        ("sinfo", "PARTITION|GRES|TIMELIMIT"),
    ],
)
def test_an_empty_table_under_a_banner_is_an_empty_one(
    commands: Path, name: str, header: str
) -> None:
    printed(commands, name, [*AROUND, header])
    assert ANSWERS[name][1]() == {}


def test_a_line_of_our_own_run_is_never_ignored(commands: Path) -> None:
    """Else a job that waits would be taken for gone and submitted again."""
    printed(commands, "squeue", ["r1.0-a|0|RUNNING|7_0|None", "r1.0-a|1|RUNNING"])
    with pytest.raises(SchedulerDown, match=r"'r1\.0-a\|1\|RUNNING'"):
        Scheduler().live("r1.")


def test_the_default_partition_among_banners(commands: Path) -> None:
    printed(commands, "sinfo", ["*** Welcome ***", "***", "CLUSTER: tc", "cpu", "gpu*"])
    assert Scheduler().default_partition() == "gpu"
    printed(commands, "sinfo", ["* * *", "CLUSTER: tc"])
    with pytest.raises(SchedulerDown, match="no line that sinfo printed"):
        Scheduler().default_partition()

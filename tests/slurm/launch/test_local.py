"""`--cluster local` with real processes: order, cap, failures, and no survivors."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm.errors import SweepError, UserError
from slurm.executor import Launch, run_sweep
from slurm.failures import Failure, blocked_by, raise_failures
from slurm.sweep import Item, Resources
from tests.slurm.items import (
    Broken,
    Killed,
    Misused,
    Number,
    Shows,
    Steps,
    starts,
)


def run_local(goals: list[Item], folder: Path, jobs: int = 2, threads: int | None = 1) -> None:
    run_sweep(goals, Launch("local", jobs=jobs, threads=threads, logs=folder / "logs"))


def chain(folder: Path) -> list[Item]:
    """Two features, two fits on each, and a table of all."""
    features = [Number(folder, f"features{i}", stage="extract") for i in range(2)]
    fits = [Number(folder, f"fit{i}{j}", (features[i],)) for i in range(2) for j in range(2)]
    return [Number(folder, "table", tuple(fits), stage="table")]


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.txt")}


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_local_leaves_the_bytes_that_inline_leaves(tmp_path: Path) -> None:
    run_sweep(chain(tmp_path / "inline"), Launch("inline", logs=tmp_path))
    run_local(chain(tmp_path / "local"), tmp_path)
    expected = texts(tmp_path / "inline")
    assert len(expected) == 7
    assert texts(tmp_path / "local") == expected


def test_an_item_waits_for_what_it_needs_though_a_slot_is_free(tmp_path: Path) -> None:
    need = Number(tmp_path / "a", "need", seconds=1.0)
    goal = Number(tmp_path / "a", "goal", (need,), stage="later")
    run_local([goal], tmp_path, jobs=4)
    assert starts(need.result) == starts(goal.result) == 1


def test_a_second_run_starts_nothing(tmp_path: Path) -> None:
    run_local(chain(tmp_path / "a"), tmp_path)
    before = {path: starts(path) for path in (tmp_path / "a").glob("*.txt")}
    run_local(chain(tmp_path / "a"), tmp_path)
    assert {path: starts(path) for path in before} == before == dict.fromkeys(before, 1)


def test_a_truncated_result_is_computed_again(tmp_path: Path) -> None:
    goals = chain(tmp_path / "a")
    run_local(goals, tmp_path)
    expected = texts(tmp_path / "a")
    table = tmp_path / "a" / "table.txt"
    table.write_text(table.read_text()[:10])
    run_local(goals, tmp_path)
    assert texts(tmp_path / "a") == expected
    assert starts(table) == 2


def test_jobs_caps_the_processes_that_run_at_once(tmp_path: Path) -> None:

    peak = 0
    launcher = start_launcher(tmp_path, "Number", 5, 2, seconds=0.3)
    while launcher.poll() is None:
        peak = max(peak, len(children(launcher.pid)))
        time.sleep(0.02)
    assert launcher.returncode == 0
    assert peak == 2
    assert len(texts(tmp_path / "a")) == 5


def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    item = Killed(tmp_path / "a", "victim", times=2)
    run_local([item], tmp_path)
    assert starts(item.result) == 3
    plain = Number(tmp_path / "b", "victim")
    plain.run()
    assert item.result.read_text() == plain.result.read_text()


def test_a_process_that_always_dies_is_given_up_with_its_log(tmp_path: Path) -> None:
    item = Killed(tmp_path / "a", "victim", times=99)
    with pytest.raises(SweepError, match="SIGKILL, perhaps out of memory, 3 times") as caught:
        run_local([item, Number(tmp_path / "a", "other")], tmp_path)
    assert list(caught.value.failures) == ["a/victim"]
    assert (tmp_path / "a" / "other.txt").exists()


def test_the_rest_finishes_when_one_item_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Broken(tmp_path / "a", "broken")
    blocked = Number(tmp_path / "a", "blocked", (broken,), stage="later")
    other = Number(tmp_path / "a", "other")
    with pytest.raises(SweepError) as caught:
        run_local([blocked, other], tmp_path)
    assert list(caught.value.failures) == ["a/broken", "a/blocked"]
    assert "ValueError: this item is broken in two lines" in caught.value.failures["a/broken"]
    assert caught.value.failures["a/blocked"] == "needs a/broken, which failed"
    assert other.done()
    assert not blocked.result.exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "a/broken failed" in line]
    log = Path(line.rsplit("(log: ", 1)[1].rstrip(")"))
    assert "Traceback" in log.read_text()


def test_a_mistake_of_the_user_travels_back_as_one(tmp_path: Path) -> None:
    goals = [Misused(tmp_path / "a", name) for name in ("one", "two")]
    with pytest.raises(UserError, match=r"^the data folder is empty; fill it$"):
        run_local(list(goals), tmp_path)


def test_several_mistakes_of_the_user_are_one_line() -> None:
    mistakes = [Failure(f"item{n}", f"class {n} is empty", mendable=True) for n in range(5)]
    with pytest.raises(UserError, match=r"class 0 is empty; class 1 is empty; .*; and 2 more"):
        raise_failures([*mistakes, blocked_by("table", "item0")])


def test_a_mistake_beside_a_failure_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(SweepError):
        run_local([Misused(tmp_path / "a", "one"), Broken(tmp_path / "a", "two")], tmp_path)


def test_an_unwritable_log_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot write in"):
        run_local([Number(tmp_path / "a", "one")], tmp_path)


def test_threads_reach_the_process(tmp_path: Path) -> None:
    item = Shows(tmp_path / "a", "one")
    run_local([item], tmp_path, threads=3)
    assert item.result.with_suffix(".seen").read_text().split()[:2] == ["3", "3"]


def test_gpus_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    one, two = Resources(gpus=1), Resources(gpus=2)
    items = [Shows(tmp_path / "a", f"n{i}", resources=one, seconds=0.5) for i in range(2)]
    items += [Shows(tmp_path / "a", "n2", resources=two), Shows(tmp_path / "a", "n3")]
    run_local(list(items), tmp_path, jobs=4)
    seen = [item.result.with_suffix(".seen").read_text().split(" ")[2] for item in items]
    assert sorted(seen[:2]) == ["4", "7"]
    assert seen[2] in ("4,7", "7,4")
    assert seen[3] == ""


def test_an_item_leads_a_session_of_its_own(tmp_path: Path) -> None:
    item = Shows(tmp_path / "a", "one")
    run_local([item], tmp_path)
    assert item.result.with_suffix(".seen").read_text().split(" ")[3] == "True"


def test_items_of_a_command_run_by_dash_m_reach_the_worker(tmp_path: Path) -> None:
    module = tmp_path / "own_command.py"
    module.write_text(
        "import sys\n"
        "from dataclasses import dataclass\n"
        "from pathlib import Path\n"
        "from slurm.executor import Launch, run_sweep\n"
        "from tests.slurm.items import Number\n"
        "@dataclass(frozen=True)\n"
        "class Own(Number):\n"
        "    extra: int = 1\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    run_sweep([Own(folder, 'one')], Launch('local', logs=folder / 'logs'))\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, "-m", "own_command", str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=True,
        timeout=60,
    )
    assert (tmp_path / "one.txt").exists()


def start_launcher(
    folder: Path, kind: str, number: int, jobs: int, **extra: object
) -> subprocess.Popen[bytes]:
    """A command of its own that runs `number` items of class `kind`."""
    arguments = "".join(f", {name}={value!r}" for name, value in extra.items())
    code = (
        "import signal\n"
        # Which is ignored in the background of a shell, and so in what is started there.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\n"
        "from slurm.cli import run_command\n"
        "from slurm.executor import Launch, run_sweep\n"
        f"from tests.slurm.items import {kind}\n"
        f"folder = Path({str(folder)!r})\n"
        f"goals = [{kind}(folder / 'a', f'n{{i}}'{arguments}) for i in range({number})]\n"
        f"launch = Launch('local', jobs={jobs}, logs=folder / 'logs')\n"
        "run_command(lambda argv: run_sweep(goals, launch))\n"
    )
    root = str(Path(__file__).parents[3])
    return subprocess.Popen([sys.executable, "-c", code], cwd=root)


def children(pid: int) -> list[str]:
    """The worker processes whose parent is `pid`."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return path.read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_outlives_the_launcher(tmp_path: Path, number: signal.Signals) -> None:
    launcher = start_launcher(tmp_path, "Parent", 2, 2)
    files = [tmp_path / "a" / f"n{i}.pids" for i in range(2)]
    wait_for(lambda: all(file.exists() for file in files))
    pids = [int(pid) for file in files for pid in file.read_text().split()]
    assert all(alive(pid) for pid in pids)
    launcher.send_signal(number)
    expected = {signal.SIGKILL: -9, signal.SIGINT: 130}.get(number, 128 + number)
    assert launcher.wait(timeout=60) == expected
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_a_launcher_killed_in_mid_sweep_is_continued(tmp_path: Path) -> None:
    launcher = start_launcher(tmp_path, "Steps", 4, 2, count=25, pause=0.05)
    wait_for(lambda: (tmp_path / "a" / "n0.state").exists())
    launcher.kill()
    launcher.wait()
    goals = [Steps(tmp_path / "a", f"n{i}", count=25, pause=0.05) for i in range(4)]
    run_local(list(goals), tmp_path)
    assert int((tmp_path / "a" / "n0.from").read_text().split()[1]) >= 10
    run_sweep(
        [Steps(tmp_path / "b", f"n{i}", count=25, pause=0.0) for i in range(4)],
        Launch("inline", logs=tmp_path),
    )
    assert texts(tmp_path / "a") == texts(tmp_path / "b")

"""Forked workers: their order, their errors, and that they end with their parent."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.svm.solver.workers import PATIENCE, each, workers

ROOT = Path(__file__).parents[4]
ORPHANS = """
import os, sys, time
from benchmarks.svm.solver.workers import each

def note(task):
    open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
    time.sleep(600)

list(each(note, [1, 2], 2))
"""


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(processes: int) -> None:
    matrix = np.arange(12.0).reshape(3, 4)  # is not pickled: a closure could not be
    found = list(each(lambda row: float(matrix[row].sum()), [2, 0, 1], processes))
    assert found == [38.0, 6.0, 22.0]


def test_several_processes_do_the_work() -> None:
    def slow_pid(_: int) -> int:
        time.sleep(0.2)
        return os.getpid()

    found = set(each(slow_pid, range(4), 2))
    assert len(found) == 2
    assert os.getpid() not in found


def test_one_set_of_processes_serves_several_rounds() -> None:
    with workers(lambda number: (number, os.getpid()), 2) as run:
        rounds = [list(run([number, number])) for number in range(5)]
    found = [one for pairs in rounds for one in pairs]
    assert [number for number, _ in found] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len({pid for _, pid in found}) <= 2


def test_an_error_in_a_process_is_an_error_here() -> None:
    def refuse(number: int) -> int:
        raise ValueError(f"no {number}")

    with pytest.raises(ValueError, match="no 1"):
        list(each(refuse, [1, 2], 2))


def test_a_worker_that_is_killed_is_a_clear_error() -> None:
    def die(_: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RuntimeError, match="killed, probably for lack of memory"):
        list(each(die, [1, 2], 2))


def test_a_worker_that_is_killed_leaves_no_idle_one() -> None:
    def die(number: int) -> None:
        time.sleep(0.3 * number)
        if number:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RuntimeError, match="killed, probably for lack of memory"):
        list(each(die, [0, 1], 2))


@pytest.mark.parametrize("where", ["here", "in a worker"])
def test_a_stop_drops_what_has_not_begun(where: str, tmp_path: Path) -> None:
    """Tasks and results are larger than a pipe holds, as those of real problems are."""

    def work(task: tuple[int, bytes]) -> bytes:
        (tmp_path / str(task[0])).touch()
        time.sleep(0.05)
        if task[0] == 3 and where == "in a worker":
            raise KeyError("of a worker")
        return bytes(500_000)

    def stop() -> None:
        with workers(work, 2) as run:
            results = run([(number, bytes(80_000)) for number in range(200)])
            for at, _ in enumerate(results):
                if at == 3:
                    raise KeyError("of the body")

    with pytest.raises(KeyError, match="of the body" if where == "here" else "of a worker"):
        stop()
    assert len(list(tmp_path.iterdir())) < 100


@pytest.mark.parametrize("idle", [False, True])
def test_a_stop_ends_long_tasks_in_the_middle(idle: bool) -> None:
    """Within library code, where Python sees no signal, as in a long fit of liblinear."""

    def work(task: int) -> bytes:
        if task:
            ctypes.CDLL(None).sleep(600)
        return bytes(500_000)

    def stop() -> None:
        with workers(work, 2) as run:
            for _ in run([0, 1] if idle else [0, 1, 1, 0, 0]):
                time.sleep(0.2)  # until processes are in the middle of one
                began.append(time.monotonic())
                raise KeyError("of the body")

    began: list[float] = []
    with pytest.raises(KeyError, match="of the body"):
        stop()
    assert time.monotonic() - began[0] < PATIENCE + 10  # other processes share the cores


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS, str(tmp_path)], cwd=ROOT)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)

"""Tests on a real SLURM: `make slurm-test`, not `make test`.

They are collected only when this folder is named on the command line.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slurm.executor import Launch, run_sweep
from tests.slurm.cluster import Cluster, missing_programs
from tests.slurm.items import note_start
from tests.slurm.real.program import suite

ROOT = Path(__file__).parents[3]
PATIENCE = 240  # seconds, on a busy machine


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = any("slurm/real" in argument for argument in config.args)
    return None if named else True


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    missing = missing_programs()
    if missing:
        pytest.skip(f"no SLURM on this machine: {', '.join(missing)} missing")
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), max_array_size=20)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(started: Cluster) -> Iterator[Cluster]:
    """The cluster, idle and without jobs, whatever the test before did to it."""
    yield started
    started.call("scancel", "-u", "root", check=False)
    while started.call("squeue", "-h", check=False).strip():
        time.sleep(0.2)
    started.wait_for_idle()


@dataclass
class Lab:
    """A folder for results, a zoo, and commands that run on the cluster."""

    cluster: Cluster
    root: Path

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def zoo(self) -> Path:
        return self.root / "zoo"

    def start(self, name: str, *flags: str, cluster: str = "slurm") -> "subprocess.Popen[str]":
        """The command for suite `name`, started."""
        program = ("tests.slurm.real.program", name, str(self.results))
        return self._start(*program, "--zoo", str(self.zoo), "--cluster", cluster, *flags)

    def run(self, name: str, *flags: str, code: int = 0) -> str:
        """The command for suite `name`; what it said on stderr."""
        return self.end(self.start(name, *flags), code)[1]

    def manage(self, action: str, *arguments: str, code: int = 0) -> str:
        """`python -m slurm`; what it printed on stdout."""
        return self.end(self.start_manage(action, *arguments), code)[0]

    def start_manage(self, action: str, *arguments: str) -> "subprocess.Popen[str]":
        return self._start("slurm", action, *arguments, "--zoo", str(self.zoo))

    def end(self, process: "subprocess.Popen[str]", code: int = 0) -> tuple[str, str]:
        """What a command printed, once it ended with `code`."""
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            queue = self.cluster.call("squeue", "-r", check=False)
            raise AssertionError(f"no end after {PATIENCE} s:\n{out}\n{err}\n{queue}") from None
        assert process.returncode == code, f"{process.returncode}:\n{out}\n{err}"
        return out, err

    def run_name(self) -> str:
        """The name of the only run."""
        (run,) = (self.zoo / "runs").iterdir()
        return run.name

    def check(self, name: str) -> None:
        """All results are there, and their bytes are those of an inline run."""
        folder = self.root / "inline"
        goals = suite(name, folder, pace=0.0)
        for goal in goals:
            # Those that kill themselves in their first starts must not do so in this process.
            for _ in range(9):
                note_start(folder / f"{goal.key.rpartition('/')[2]}.txt")
        run_sweep(goals, Launch("inline"))
        assert texts(self.results) == texts(folder)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                queue = self.cluster.call("squeue", "-r", check=False)
                raise AssertionError(f"waited in vain for {what}\n{queue}")
            time.sleep(0.1)

    def running(self) -> list[str]:
        """The ids of the tasks that run."""
        return self.cluster.call("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i").split()

    def queued(self) -> list[str]:
        """The ids of the tasks that wait, run or are about to end."""
        return self.cluster.call("squeue", "-h", "-r", "-o", "%i").split()

    def _start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.txt")}


@pytest.fixture
def lab(cluster: Cluster, tmp_path: Path) -> Lab:
    return Lab(cluster, tmp_path)

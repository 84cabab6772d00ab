"""Real processes of Python that start at once: forks of one in which torch is imported already.

A process that imports torch, torchvision and timm spends five seconds of a core on it. What a test
starts here is a process like any other, with its own environment, folder, streams and signals, and
it imports this project itself; but the libraries are there. Commands that are to be seen from their
first instruction on (what they import, how a shell calls them) `subprocess` starts as ever.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).resolve().parent.parent
IMPORTED = ("torch", "torchvision", "timm", "sklearn.svm", "torch.distributed.launcher.api")


class Running:
    """A process that was started; its streams go to files, so that it never waits for a reader."""

    def __init__(self, program: Sequence[str], options: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="streams")
        self._files = tuple(Path(self._folder.name) / name for name in ("out", "err"))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(IMPORTED))
        forkserver.ensure_running()
        self._process = context.Process(target=_child, args=(program, self._files, options))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """As of `subprocess`: None while it runs, -N when signal N ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; `subprocess.TimeoutExpired` when it is late."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote, once it has ended."""
        self.wait(timeout)
        out, err = (path.read_text() if path.exists() else "" for path in self._files)
        return out, err

    def send_signal(self, number: int) -> None:
        """To this process alone; nothing when it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As the kernel does."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.returncode is None and kind is not None:
            self.kill()
        self._process.join()


def start(
    *program: str | Path,
    processes: int = 0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    session: bool = False,
) -> Running:
    """Start `-m MODULE`, `-c PROGRAM` or `FILE` with words, as behind the interpreter's name.

    With `processes` it is started so many times by the agent of torchrun. `env` is all of its
    environment (None: this one's); `session`: in a session of its own.
    """
    options = {
        "processes": processes,
        "env": dict(os.environ if env is None else env),
        "cwd": str(cwd or Path.cwd()),
        "session": session,
    }
    return Running([str(word) for word in program], options)


def run(
    *program: str | Path, timeout: float = 300, **how: Any
) -> "subprocess.CompletedProcess[str]":
    """As `start`, to its end."""
    with start(*program, **how) as process:
        try:
            out, err = process.communicate(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(map(str, program)), process.returncode, out, err)


def _child(program: list[str], files: tuple[Path, Path], options: dict[str, Any]) -> None:
    if options["session"]:
        os.setsid()
    for descriptor, path in zip((1, 2), files):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(options["env"])
    os.chdir(options["cwd"])
    if not options["processes"]:
        _execute(program)
        return
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=options["processes"],
        run_id=str(uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
        start_method="fork",
    )
    elastic_launch(config, _execute)(program)


def _execute(program: list[str]) -> None:
    first = Path(program[0]).parent if program[0][0] != "-" else Path.cwd()
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(first), *filter(None, others), str(ROOT)]
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    elif program[0] == "-c":
        sys.argv = ["-c", *program[2:]]
        exec(compile(program[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = program
        runpy.run_path(program[0], run_name="__main__")

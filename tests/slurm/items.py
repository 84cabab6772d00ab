"""Items for tests of the back ends: numbers, sleepers, and items that fail in every way.

Each leaves a text file. They count their starts in a file beside it, so that a test can see what
was run again.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from slurm.errors import UserError
from slurm.files import write_text
from slurm.scheduler.environment import in_batch_job
from slurm.stop import Stopped, polite_stop, stop_requested
from slurm.sweep import Item, Resources

DIGITS = 64


def note_start(path: Path) -> int:
    """Append one byte to a file beside `path`; how many starts there were before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".starts").open("ab") as file:
        before = file.tell()
        file.write(b"x")
    return before


def starts(path: Path) -> int:
    """How often the item that leaves `path` was started."""
    counter = path.with_suffix(".starts")
    return counter.stat().st_size if counter.exists() else 0


@dataclass(frozen=True)
class Number:
    """A hash of the name and of the results it needs: equal bytes or not, nothing between."""

    folder: Path
    name: str
    needs: tuple[Item, ...] = ()
    seconds: float = 0.0
    stage: str = "number"
    resources: Resources = field(default=Resources(minutes=5))

    @property
    def key(self) -> str:
        return f"{self.folder.name}/{self.name}"

    @property
    def result(self) -> Path:
        return self.folder / f"{self.name}.txt"

    def done(self) -> bool:
        try:
            return len(self.result.read_text()) == DIGITS
        except FileNotFoundError:
            return False

    def run(self) -> None:
        note_start(self.result)
        digest = sha256(self.name.encode())
        for need in self.needs:
            assert isinstance(need, Number)
            digest.update(need.result.read_bytes())
        self.act()
        write_text(self.result, digest.hexdigest())

    def act(self) -> None:
        """What the item does before it leaves its result."""
        time.sleep(self.seconds)


@dataclass(frozen=True)
class Killed(Number):
    """Kills its own process in its first `times` starts, as the kernel does without memory."""

    times: int = 1

    def act(self) -> None:
        if starts(self.result) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Broken(Number):
    """Fails by an exception."""

    def act(self) -> None:
        raise ValueError("this item is broken\nin two lines")


@dataclass(frozen=True)
class Misused(Number):
    """Fails by a mistake of the user."""

    def act(self) -> None:
        raise UserError("the data folder is empty; fill it")


@dataclass(frozen=True)
class Shows(Number):
    """Leaves a file with what the process sees: its threads, GPUs, session, whether in a job."""

    def act(self) -> None:
        seen = [os.environ.get(name, "unset") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")]
        seen.append(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))
        seen.append(str(os.getsid(0) == os.getpid()))
        seen.append(str(in_batch_job()))
        write_text(self.result.with_suffix(".seen"), " ".join(seen))
        time.sleep(self.seconds)


@dataclass(frozen=True)
class Parent(Number):
    """Starts a process of its own, writes both process ids, and waits for ever."""

    def act(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        write_text(self.result.with_suffix(".pids"), f"{os.getpid()} {child.pid}")
        time.sleep(600)


@dataclass(frozen=True)
class Steps(Number):
    """A resumable item: a chain of hashes, one a step, saved when a scheduler asks for it."""

    count: int = 10
    pause: float = 0.1
    resources: Resources = field(default=Resources(minutes=5, resumable=True))

    @property
    def state(self) -> Path:
        """The step reached and the hash of it."""
        return self.result.with_suffix(".state")

    def run(self) -> None:
        note_start(self.result)
        step, value = 0, self.name
        if self.state.exists():
            saved, value = self.state.read_text().split()
            step = int(saved)
        with self.result.with_suffix(".from").open("a") as file:
            file.write(f"{step}\n")
        with polite_stop():
            while step < self.count:
                time.sleep(self.pause)
                step, value = step + 1, sha256(value.encode()).hexdigest()
                if stop_requested():
                    write_text(self.state, f"{step} {value}")
                    raise Stopped(f"{self.key} saved after step {step}")
                if step % 10 == 0:
                    write_text(self.state, f"{step} {value}")
        write_text(self.result, value)

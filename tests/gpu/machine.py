"""Where the checks run, and how a piece of work is timed there."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

Figures = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """Where it runs, and how large the timed work is."""

    device: str
    scratch: Path

    @property
    def gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def arch(self) -> str:
        return "resnet50" if self.gpu else "test_resnet"

    @property
    def batch(self) -> int:
        return 256 if self.gpu else 8

    @property
    def side(self) -> int:
        return 224 if self.gpu else 64

    def command(self, *words: str, processes: int = 1, **options: Any) -> Any:
        """Run a command of this project; `subprocess.run`'s result."""
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        return subprocess.run(
            [sys.executable, *(launcher if processes > 1 else ()), "-m", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=150,
            **options,
        )

    def environment(self) -> dict[str, str]:
        found = os.environ.get("PYTHONPATH")
        return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep + found if found else ''}"}


def rate(images: int, work: Callable[[], object], device: str, seconds: float = 4.0) -> float:
    """Images a second of a piece of work, after it has been done a few times."""
    import torch

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        work()
    wait()
    start, count = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        for _ in range(3):
            work()
        count += 3
        wait()
    return images * count / (time.monotonic() - start)

"""The demo's whole suite for three checkpoints, as arrays with dependencies."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.slurm.real.conftest import ROOT, Lab

CHECKPOINTS = "random:resnet18,random:resnet10t,random:sobel_resnet10t"
PROVENANCE = ("commit", "host", "started", "seconds")  # of one computation, not of its result


def benchmarks(lab: Lab, zoo: Path, *flags: str) -> None:
    """`python -m benchmarks` for the three checkpoints, with one thread wherever it runs."""
    command = ("benchmarks", "--ckpt", CHECKPOINTS, "--suite", "digits", "--data", str(lab.data))
    common = ("--zoo", str(zoo), "--device", "cpu", "--threads", "1", "--workers", "0")
    subprocess.run(
        [sys.executable, "-m", *command, *common, *flags],
        cwd=ROOT,
        env=lab.cluster.environment,
        check=True,
        timeout=1200,
    )


def records(zoo: Path) -> dict[str, Any]:
    """The result records by their place in the zoo, without what differs between computations."""
    found = {}
    for path in zoo.glob("results/**/*.json"):
        record = json.loads(path.read_text())
        provenance = record.get("provenance", record)
        for name in PROVENANCE:
            provenance.pop(name, None)
        found[str(path.relative_to(zoo))] = record
    return found


def test_the_demo_suite_for_three_checkpoints(lab: Lab) -> None:
    subprocess.run(
        [sys.executable, "-m", "benchmarks.datasets.digits", str(lab.data)], cwd=ROOT, check=True
    )
    benchmarks(lab, lab.root / "inline")
    benchmarks(lab, lab.zoo, "--cluster", "slurm", "--cpus-per-task", "1")
    expected = records(lab.root / "inline")
    assert len(expected) >= 3 * 6
    assert records(lab.zoo) == expected

"""The Triton kernels of colours, run by Triton's interpreter, against the steps that PIL takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).parents[3]


def test_kernels_give_the_values_of_the_steps() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.images.interpreted_kernels"],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {
        "plain": True,
        "multi-head": True,
        "hue and grey": True,
        "many programs": True,
    }

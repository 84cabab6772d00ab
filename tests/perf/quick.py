"""Seconds that the suite `quick` takes for all checkpoints of the demo, start-up included.

    python tests/perf/quick.py --demo demo --json tests/perf/results/quick.json

`make demo` leaves the folder. Every round starts from the registered checkpoints alone: nothing is
cached.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = "deepcluster-digits,random:sobel_resnet18"  # as the Makefile's DEMO_CKPTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    registered = args.demo / "zoo" / "checkpoints"
    if not registered.is_dir():
        raise SystemExit(f"error: {registered} is not there: run make demo, or name --demo")
    seconds = [one_round(args.demo.resolve()) for _ in range(args.rounds)]
    card = json.loads((registered / "deepcluster-digits" / "card.json").read_text())
    found: dict[str, Any] = {
        "checkpoints": CHECKPOINTS.split(","),
        "pretrained_epochs": len(card["pretraining"]["history"]["loss"]),
        "cores": os.cpu_count(),
        "seconds": round(median(seconds), 1),
        "rounds": [round(one, 1) for one in seconds],
    }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def one_round(demo: Path) -> float:
    """Wall seconds of the command on a zoo of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        zoo = Path(scratch) / "zoo"
        shutil.copytree(demo / "zoo" / "checkpoints", zoo / "checkpoints")
        words = ["--ckpt", CHECKPOINTS, "--suite", "quick", "--data", str(demo / "data")]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *words, "--zoo", str(zoo)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    return seconds


if __name__ == "__main__":
    main()

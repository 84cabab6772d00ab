"""`make demo`, killed by SIGKILL again and again, ends in the bits of one that was left alone.

    python tests/proofs/killed_demo.py --json FILE

Two demos run one after the other in a scratch folder: the first undisturbed, the second killed,
with all its processes, after random spans of time until it ends by itself. Compared are the
weights, every result record without what belongs to one computation, and the tables.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Of one computation, not of its result; the last ones are of parts.
PROVENANCE = ("commit", "host", "started", "seconds", "made", "gpu_bytes", "host_bytes")
SPANS = (0.05, 0.25)  # of an undisturbed demo, between two kills: an epoch of pretraining fits


def start_demo(folder: Path) -> "subprocess.Popen[str]":
    """`make demo` in `folder`, leading a session of its own."""
    log = (folder.with_suffix(".log")).open("a")
    return subprocess.Popen(
        ["make", "demo", f"DEMO={folder}"],
        cwd=ROOT,
        stdout=log,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def kill_session(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to the whole group of `make`, so that nobody can clean up."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_said(folder: Path) -> str:
    """The last whole line of the log: where the kill struck."""
    text = folder.with_suffix(".log").read_text().replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:120] if lines else ""


def run_killed(folder: Path, seed: int, undisturbed: float) -> list[dict[str, Any]]:
    """Kill the demo until it ends by itself; where and when each kill struck.

    `undisturbed` is what it takes, in seconds.
    """
    draws = random.Random(seed)
    kills: list[dict[str, Any]] = []
    while True:
        process = start_demo(folder)
        span = undisturbed * draws.uniform(*SPANS)
        try:
            if process.wait(timeout=span):
                raise SystemExit(f"the demo failed; see {folder.with_suffix('.log')}")
            return kills
        except subprocess.TimeoutExpired:
            kill_session(process)
            kills.append({"after_s": round(span, 1), "at": last_said(folder)})
            print(f"killed after {span:.0f} s at: {kills[-1]['at']}", flush=True)


def results_of(folder: Path) -> dict[str, Any]:
    """All that a user could quote: weights, records, tables."""
    found: dict[str, Any] = {}
    zoo = folder / "zoo"
    for path in sorted(zoo.glob("checkpoints/*/weights.safetensors")):
        found[str(path.relative_to(zoo))] = sha256(path.read_bytes()).hexdigest()
    for path in sorted(zoo.glob("results/*/*/*.json")):
        record = json.loads(path.read_text())
        for name in PROVENANCE:
            record.pop(name, None)
        found[str(path.relative_to(zoo))] = record
    tables = (zoo / "README.md").read_text().splitlines()
    found["tables"] = [line for line in tables if line.startswith("|")]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write what happened to this file")
    parser.add_argument("--keep", type=Path, help="work (and stay) in this folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        if start_demo(root / "whole").wait():
            raise SystemExit(f"the demo failed; see {root / 'whole.log'}")
        seconds = time.monotonic() - began
        kills = run_killed(root / "killed", args.seed, seconds)
        whole, killed = results_of(root / "whole"), results_of(root / "killed")
    differs = [name for name in whole.keys() | killed.keys() if whole.get(name) != killed.get(name)]
    found = {
        "seed": args.seed,
        "undisturbed_s": round(seconds, 1),
        "kills": kills,
        "compared": sorted(whole),
        "differs": sorted(differs),
    }
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(kills)} kills, {len(whole)} files compared, {len(differs)} differ: {differs}")
    sys.exit(bool(differs))


if __name__ == "__main__":
    main()

"""A pretraining, killed by SIGKILL again and again, ends in the bits of one that was left alone.

    python tests/proofs/killed_pretraining.py --json FILE

For one process and for two (torchrun, gloo): one run undisturbed, then one whose processes are all
killed at random moments, wherever it stands: starting, extracting, clustering, a step, a save, the
log, registering. Compared are the registered weights and card, byte for byte, and the assignments.
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "pretrain" / "tiny.py"
EPOCHS = "8"
COMPARED = ("checkpoints/tiny/weights.safetensors", "checkpoints/tiny/card.json")

sys.path[:0] = [str(ROOT), str(TINY.parent)]  # when run as a script


def command(data: Path, zoo: Path, processes: int) -> list[str]:
    given = ["deepcluster", "--recipe", "tiny", "--name", "tiny", "--epochs", EPOCHS, "--resume"]
    given += ["--data", str(data), "--zoo", str(zoo), "--device", "cpu", "--workers", "0"]
    given += ["--save-every", "0", "--keep", "2"]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *(launcher if processes > 1 else []), str(TINY), *given]


def start(data: Path, zoo: Path, processes: int) -> "subprocess.Popen[str]":
    """A run that leads a session of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    log = zoo.with_suffix(".log").open("a")
    return subprocess.Popen(
        command(data, zoo, processes),
        stdout=log,
        stderr=log,
        text=True,
        env=environment,
        start_new_session=True,
    )


def session_of(leader: int) -> list[int]:
    """The processes of a session: torchrun puts each of its own into a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader:
                found.append(int(entry.name))
    return found


def kill_all(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to every process of the run, so that none can clean up."""
    for number in session_of(process.pid):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def last_said(zoo: Path) -> str:
    text = zoo.with_suffix(".log").read_text().replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:100] if lines else ""


def killed(
    data: Path, zoo: Path, processes: int, draws: random.Random, kills: int, seconds: float
) -> list[dict[str, Any]]:
    """Kill one run until it is registered, `kills` times at most; where and when each struck.

    `seconds` is what an undisturbed run took. Kills that come while Python still starts would show
    nothing, so each waits for the first word of its run.
    """
    log = zoo.with_suffix(".log")
    log.touch()
    struck: list[dict[str, Any]] = []
    while len(struck) < kills and not (zoo / COMPARED[1]).exists():
        before = log.stat().st_size
        process = start(data, zoo, processes)
        while process.poll() is None and log.stat().st_size == before:
            time.sleep(0.02)
        span = draws.uniform(0.0, seconds / 4)
        try:
            if process.wait(timeout=span):
                raise SystemExit(f"the run failed: {last_said(zoo)}")
            break
        except subprocess.TimeoutExpired:
            kill_all(process)
            struck.append({"after_s": round(span, 2), "at": last_said(zoo)})
            print(f"{processes}: killed after {span:.2f} s at: {struck[-1]['at']}", flush=True)
    if start(data, zoo, processes).wait():
        raise SystemExit(f"the run failed: {last_said(zoo)}")
    return struck


def results_of(zoo: Path) -> dict[str, bytes]:
    """Weights, card and assignments."""
    found = {name: (zoo / name).read_bytes() for name in COMPARED}
    for path in sorted((zoo / "logs/tiny/clusters").iterdir()):
        found[str(path.relative_to(zoo))] = path.read_bytes()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20, help="for each number of processes")
    parser.add_argument("--json", type=Path, help="write what happened to this file")
    args = parser.parse_args()
    from tiny import write_images

    draws, found = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as scratch:
        data = write_images(Path(scratch) / "data")
        for processes in (1, 2):
            whole = Path(scratch) / f"whole{processes}"
            began = time.monotonic()
            if start(data, whole, processes).wait():
                raise SystemExit(f"the run failed: {last_said(whole)}")
            seconds = time.monotonic() - began
            expected = results_of(whole)
            struck: list[dict[str, Any]] = []
            differs: set[str] = set()
            runs = 0
            while len(struck) < args.kills:  # a run may end before it was killed so often
                other = Path(scratch) / f"killed{processes}-{runs}"
                left = args.kills - len(struck)
                struck += killed(data, other, processes, draws, left, seconds)
                results = results_of(other)
                names = expected.keys() | results.keys()
                differs |= {name for name in names if expected.get(name) != results.get(name)}
                runs += 1
            found.append(
                {
                    "processes": processes,
                    "undisturbed_s": round(seconds, 1),
                    "runs": runs,
                    "kills": struck,
                    "compared": sorted(expected),
                    "differs": sorted(differs),
                }
            )
            print(f"{processes}: {len(struck)} kills of {runs} runs, {len(differs)} files differ")
    if args.json:
        args.json.write_text(json.dumps({"seed": args.seed, "runs": found}, indent=1) + "\n")
    sys.exit(any(one["differs"] for one in found))


if __name__ == "__main__":
    main()

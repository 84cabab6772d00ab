"""A crowd on one zoo: whatever is killed or runs twice, what is there at the end is whole.

    python tests/proofs/crowd.py --json FILE      # six to ten minutes on 2 cores

Twenty processes at a time register, benchmark and report on one zoo; each command runs twice at
once, and random ones are killed by SIGKILL, for five minutes. Two different files want one name.
Then every command runs once more, undisturbed, and the zoo is compared with one in which nothing
was ever disturbed: the same weights, cards and records, and no temporary file of a dead process.
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
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.voc_data import write_voc  # noqa: E402
from tests.conftest import write_image_folders  # noqa: E402

CROWD = 20  # processes at once
SECONDS = 300.0
NAMES = ("first", "second")
ARCH = "test_resnet"  # a trunk of timm's for tests
OF_ONE_RUN = ("commit", "host", "started", "seconds", "threads", "made", "gpu_bytes", "host_bytes")


@dataclass(frozen=True)
class Job:
    """A command that leaves something in the zoo."""

    words: tuple[str, ...]
    may_lose: bool = False  # another process may have been first

    def start(self, zoo: Path) -> "subprocess.Popen[bytes]":
        """Run it in a process group of its own."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", *self.words, "--zoo", str(zoo)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )


def write_material(folder: Path) -> None:
    """Checkpoint files, images in ImageNet's and VOC2007's layouts."""
    import timm
    import torch

    for seed, name in enumerate((*NAMES, "mine", "yours")):
        torch.manual_seed(seed)
        torch.save(timm.create_model(ARCH).state_dict(), folder / f"{name}.pth")
    write_image_folders(folder / "imagenet", train=16, val=6)
    write_voc(folder / "VOC2007", {"trainval": 60, "test": 20})


def add(file: Path, name: str, *, may_lose: bool = False) -> Job:
    words = ("benchmarks.registry", "add", str(file), "--name", name, "--arch", ARCH)
    return Job(words, may_lose)


def jobs(folder: Path, zoo: Path) -> tuple[list[Job], list[Job]]:
    """What must be there first, and what needs it."""
    common = ("--device", "cpu", "--workers", "0")
    voc, imagenet = ("--data", str(folder / "VOC2007")), ("--data", str(folder / "imagenet"))
    first = [add(folder / f"{name}.pth", name) for name in NAMES]
    first += [add(folder / f"{name}.pth", "contested", may_lose=True) for name in ("mine", "yours")]
    then = []
    for name in NAMES:
        ckpt = ("--ckpt", name, *common)
        probe = ("--protocol", "digits_mhead_linear-2e_in1k", *imagenet)
        then.append(Job(("benchmarks.linear_probe", *ckpt, *probe)))
        then.append(Job(("benchmarks.voc_svm", *ckpt, *voc, "--protocol", "digits_voc07_svm")))
        few = ("--protocol", "digits_voc07_low_shot_svm", "--shots", "1", "--samples", "2")
        then.append(Job(("benchmarks.low_shot_svm", *ckpt, *voc, *few)))
    then.append(Job(("reports", "--readme", str(zoo / "README.md"))))
    return first, then


def run_all(todo: Sequence[Job], zoo: Path) -> list[str]:
    """Run each job once, alone; the errors of those that failed."""
    failed = []
    for job in todo:
        process = job.start(zoo)
        _, message = process.communicate()
        if process.returncode not in ((0, 2) if job.may_lose else (0,)):
            failed.append(f"{' '.join(job.words[:4])}: {message.decode()[-300:]}")
    return failed


def disturb(todo: Sequence[Job], zoo: Path, draws: random.Random) -> Counter[str]:
    """Two of each job at once, at most `CROWD` processes, some of them killed; how they ended."""
    ends: Counter[str] = Counter()
    running: list[tuple[Job, subprocess.Popen[bytes]]] = []
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        while len(running) < CROWD:
            job = draws.choice(todo)
            running += [(job, job.start(zoo)) for _ in range(2)]
        time.sleep(0.2)
        if draws.random() < 0.15:
            os.killpg(draws.choice(running)[1].pid, signal.SIGKILL)
        for job, process in [pair for pair in running if pair[1].poll() is not None]:
            running.remove((job, process))
            _, message = process.communicate()
            ends[verdict(job, process.returncode, message.decode())] += 1
    for _, process in running:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        ends["killed"] += 1
    return ends


def verdict(job: Job, code: int, message: str) -> str:
    """killed, done, one clean error, or what should never be."""
    if code == -signal.SIGKILL:
        return "killed"
    if code == 0:
        return "done"
    last = message.rstrip("\n").splitlines()[-1:] or [""]
    waits = "no checkpoint" in last[0] or "No results" in last[0]  # not registered yet
    if code == 2 and "Traceback" not in message and (waits or job.may_lose):
        return "refused in one line"
    print(f"{' '.join(job.words[:4])} ended with {code}:\n{message[-2000:]}", file=sys.stderr)
    return f"{job.words[0]} ended with {code}"


def results_of(zoo: Path) -> dict[str, Any]:
    """Weights, cards and records, by their path in the zoo."""
    found: dict[str, Any] = {}
    for path in sorted(zoo.glob("checkpoints/*/*")):
        found[str(path.relative_to(zoo))] = sha256(path.read_bytes()).hexdigest()
    for path in sorted(zoo.glob("results/**/*.json")):
        record = json.loads(path.read_text())
        for name in OF_ONE_RUN:
            record.pop(name, None)
        found[str(path.relative_to(zoo))] = record
    return {path: value for path, value in found.items() if "contested" not in path}


def contested(zoo: Path) -> bool:
    """Whether the card and the weights that two files fought for are of one of them."""
    from benchmarks.registry import load_backbone

    return load_backbone(zoo, "contested")[1].weights is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write what happened to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_material(folder)
        quiet, crowded = folder / "quiet", folder / "crowded"
        first, then = jobs(folder, quiet)
        failed = run_all([*first, *then], quiet)
        first, then = jobs(folder, crowded)
        ends = disturb([*first, *then], crowded, random.Random(args.seed))
        failed += run_all([*first, *then], crowded)
        expected, there = results_of(quiet), results_of(crowded)
        differs = [x for x in expected.keys() | there.keys() if expected.get(x) != there.get(x)]
        left = [
            str(path.relative_to(crowded)) for path in crowded.rglob(".*.tmp") if path.is_file()
        ]
        whole = contested(crowded)
    strange = [end for end in ends if " ended with " in end]
    found = {
        "seed": args.seed,
        "processes": sum(ends.values()),
        "ends": dict(sorted(ends.items())),
        "compared": sorted(expected),
        "differs": sorted(differs),
        "temporaries_left": sorted(left),
        "contested_is_whole": whole,
        "failed": failed,
    }
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: found[name] for name in found if name != "compared"}, indent=1))
    sys.exit(bool(differs or left or failed or strange or not whole))


if __name__ == "__main__":
    main()

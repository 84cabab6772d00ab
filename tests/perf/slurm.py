"""What the launcher costs: against plain sbatch arrays, and to plan a large suite.

    python tests/perf/slurm.py                    both, on a cluster of its own
    python tests/perf/slurm.py --only planning    anywhere

Overhead: 200 no-op items, submitted and collected by our command, from its start to its exit,
against an sbatch array of 200 tasks that start the same Python, import the same modules and
write the same files, from the call of sbatch until the last file is there. The two alternate;
the least of each counts. Planning: `--suite model-zoo --dry-run` for 1,000 checkpoints, whose SVM
parts are all there but for 1 %, and half of whose records are.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

TASKS, ROUNDS, AT_ONCE = 200, 2, 6
CHECKPOINTS = 1000
PLAIN = """#!/bin/bash
#SBATCH --array=0-{last}%{at_once}
#SBATCH --output={folder}/%a.log
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONUNBUFFERED=1
srun --unbuffered {python} -u -c "
import numpy, submitit.core._submit, slurm.task, tests.slurm.items as items
from pathlib import Path
items.Number(Path('{folder}'), 'n$SLURM_ARRAY_TASK_ID').run()"
"""


def measure_overhead() -> dict[str, Any]:
    """The times of both ways and their ratio."""
    from tests.slurm.cluster import Cluster, missing_programs

    missing = missing_programs()
    if missing:
        sys.exit(f"error: {', '.join(missing)} missing; run tests/slurm/install.sh as root")
    with tempfile.TemporaryDirectory(prefix="slurm-perf-") as text:
        cluster = Cluster(Path(text) / "cluster")
        cluster.start()
        try:
            plain, ours = [], []
            for number in range(ROUNDS):
                plain.append(time_plain(cluster.environment, Path(text) / f"plain{number}"))
                cluster.wait_for_idle()
                ours.append(time_ours(cluster.environment, Path(text) / f"ours{number}"))
                cluster.wait_for_idle()
                print(f"plain sbatch {plain[-1]:.1f} s, launcher {ours[-1]:.1f} s", flush=True)
        finally:
            cluster.stop()
    overhead = min(ours) / min(plain)
    print(f"overhead: {overhead:.3f} (at most 1.15)")
    return {"tasks": TASKS, "plain_s": min(plain), "ours_s": min(ours), "overhead": overhead}


def time_plain(environment: dict[str, str], folder: Path) -> float:
    """Seconds from sbatch to the last result of a plain array."""
    folder.mkdir()
    script = folder / "array.sh"
    script.write_text(
        PLAIN.format(last=TASKS - 1, at_once=AT_ONCE, folder=folder, python=sys.executable)
    )
    began = time.perf_counter()
    subprocess.run(["sbatch", script], cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
    while len(list(folder.glob("*.txt"))) < TASKS:
        time.sleep(0.1)
    return time.perf_counter() - began


def time_ours(environment: dict[str, str], folder: Path) -> float:
    """Seconds from the start of our command to its exit."""
    program = [sys.executable, "-m", "tests.slurm.real.program", "noop", str(folder)]
    flags = ["--zoo", str(folder / "zoo"), "--cluster", "slurm", "--threads", "1"]
    began = time.perf_counter()
    subprocess.run(
        [*program, *flags, "--array-parallelism", str(AT_ONCE)],
        cwd=ROOT,
        env=environment,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - began
    assert len(list(folder.glob("*.txt"))) == TASKS
    return seconds


def measure_planning() -> dict[str, Any]:
    """The seconds of a dry run of the whole suite for many checkpoints."""
    with tempfile.TemporaryDirectory(prefix="slurm-perf-") as text:
        zoo, data = Path(text) / "zoo", Path(text) / "data"
        items = fill_zoo(zoo, data)
        command = [sys.executable, "-m", "benchmarks", "--ckpt", "ckpt*", "--suite", "model-zoo"]
        command += ["--data", str(data), "--zoo", str(zoo), "--dry-run"]
        began = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - began
    print(f"{items} items, {done.stdout.splitlines()[0]}: planned in {seconds:.2f} s (at most 5)")
    return {
        "planning_checkpoints": CHECKPOINTS,
        "planning_items": items,
        "planning_s": seconds,
    }


def fill_zoo(zoo: Path, data: Path) -> int:
    """A zoo of many checkpoints in the middle of a run; the number of items of the suite."""
    from benchmarks import results, suite
    from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD, Card, card_path
    from benchmarks.datasets.digits import write_digits
    from benchmarks.features.extraction import ExtractVoc
    from benchmarks.results import Checkpoint
    from benchmarks.trunks import Trunk
    from slurm.sweep import all_items

    write_digits(data)
    trunks = []
    for number in range(CHECKPOINTS):
        card = Card(
            name=f"ckpt{number}",
            arch="resnet50",
            sobel=False,
            weights=f"{number:064x}",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        )
        results.write(card_path(zoo, card.name), card)
        trunks.append(
            Trunk(
                zoo=zoo,
                ckpt=card.name,
                checkpoint=Checkpoint(card.name, card.arch, card.weights, card.sobel, card.config),
                mean=card.mean,
                std=card.std,
            )
        )
    goals = suite.goals(trunks, data, suite.SUITES["model-zoo"])
    items = all_items(goals)
    contents = valid_results()
    half = {goal.key for goal in goals[: len(goals) // 2]}
    for number, (key, item) in enumerate(items.items()):
        is_part = item.stage not in ("collect", "probe")
        if key in half or (is_part and number % 100):
            if isinstance(item, ExtractVoc):
                fill_features(item.marker)
            else:
                item.result.parent.mkdir(parents=True, exist_ok=True)
                item.result.write_bytes(contents[type(item).__name__])
    return len(items)


def valid_results() -> dict[str, bytes]:
    """A whole result of each kind of item, of the size that real ones have."""
    from benchmarks import results
    from benchmarks.svm.parts import LayerPart, ShotPart

    names = tuple(f"class{number}" for number in range(20))
    layer = results.SvmLayer(81.25, (81.25,) * 20, (0.0625,) * 20, ((81.25,) * 19,) * 20)
    by_cost = {repr(0.5**power): (34.375,) * 5 for power in range(19)}
    shot = results.Shot(34.375, 33.0, 35.0, 0.5, 0.0625, by_cost)
    low_shot = results.LowShotLayer({str(k): shot for k in (1, 2, 4, 8, 16, 32, 64, 96)})
    stages = [f"feature{stage}" for stage in range(1, 6)]
    part: dict[str, Any] = {"classes": names, "device": "cpu", "threads": 1, "notes": ()}
    record: dict[str, Any] = {
        **{"benchmark": "voc07_svm", "protocol": "a", "protocol_version": 1, "seed": 0},
        **{"variant": "mmselfsup", "settings": {}, "threads": 1, "device": "cpu"},
        "checkpoint": results.Checkpoint("a", "resnet50", "0" * 64),
        "data": {"test": results.Split(10, 2, "ab")},
        **results.environment(),
    }
    record |= (ran := {"started": "2026-01-01T00:00:00+00:00", "seconds": 1.5})
    kinds = {
        "VocSvmLayer": LayerPart(layer=layer, **part, **ran),
        "LowShot": ShotPart(shot=shot, draws="official", **part, **ran),
        "VocSvm": results.VocSvmRecord(
            classes=names, layers=dict.fromkeys(stages, layer), best_layer=stages[-1], **record
        ),
        "VocLowShot": results.LowShotRecord(
            layers=dict.fromkeys(stages, low_shot), selection="test", **record
        ),
        "Probe": results.ProbeRecord(
            heads=dict.fromkeys(stages, results.Head(50.0, 75.0, 50.0, 90, (50.0,) * 90)),
            epochs=90,
            **record,
        ),
    }
    return {name: results.encode(value) for name, value in kinds.items()}


def fill_features(marker: Path) -> None:
    """As many files as an extraction leaves, and the marker that says what they hold."""
    files = {f"{number}.npy": {"bytes": 1, "blake2b": "0" * 32} for number in range(13)}
    marker.parent.mkdir(parents=True)
    for name in files:
        (marker.parent / name).write_bytes(b"x")
    marker.write_text(json.dumps({"extraction": marker.parent.name, "files": files}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("planning", "overhead"))
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text())
    for name, measure in (("planning", measure_planning), ("overhead", measure_overhead)):
        if args.only in (None, name):
            found |= measure()
            if args.json:
                args.json.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

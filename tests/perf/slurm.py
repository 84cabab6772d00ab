"""What the launcher costs: against plain sbatch arrays, and to plan a large suite.

    python tests/perf/slurm.py             both, on a cluster of its own (needs `make slurm-test`)
    python tests/perf/slurm.py planning    only planning, anywhere

Overhead: 200 no-op items, submitted and collected by our command, from its start to its exit,
against an sbatch array of 200 tasks that start the same Python, import the same modules and
write the same files, from the call of sbatch until the last file is there. The two alternate;
the least of each counts. Planning: 1,000 checkpoints x 60 items, all but 1 % of them done.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

TASKS, ROUNDS, AT_ONCE = 200, 3, 6
PLAIN = """#!/bin/bash
#SBATCH --array=0-{last}%{at_once}
#SBATCH --output={folder}/%a.log
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONUNBUFFERED=1
srun --unbuffered {python} -u -c "
import numpy, submitit.core._submit, slurm.task, tests.slurm.items as items
from pathlib import Path
items.Number(Path('{folder}'), 'n$SLURM_ARRAY_TASK_ID').run()"
"""


def measure_overhead() -> None:
    """Print the times of both ways and their ratio."""
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
    print(f"overhead: {min(ours) / min(plain):.3f} (at most 1.15)")


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


def measure_planning() -> None:
    """Print the time of a dry run of 60,000 items."""
    from slurm.sweep import Item, describe
    from tests.slurm.items import Number

    with tempfile.TemporaryDirectory(prefix="slurm-perf-") as text:
        goals: list[Item] = []
        for checkpoint in range(1000):
            folder = Path(text) / f"checkpoint{checkpoint}"
            features = [Number(folder, f"features{n}", stage="extract") for n in range(10)]
            goals += [Number(folder, f"fit{n}", (features[n % 10],)) for n in range(60)]
            folder.mkdir()
            if checkpoint % 100:
                for goal in goals[-60:]:
                    assert isinstance(goal, Number)
                    goal.result.write_text("x" * 64)
        began = time.perf_counter()
        first = describe(goals).splitlines()[0]
        print(f"{first}: planned in {time.perf_counter() - began:.2f} s (at most 5)")


if __name__ == "__main__":
    measure_planning()
    if sys.argv[1:] != ["planning"]:
        measure_overhead()

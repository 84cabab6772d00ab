"""How long it takes to render a zoo of 100 checkpoints with --ci, from samples that are kept.

    python tests/perf/intervals.py --json tests/perf/results/intervals.json

Records of the model zoo's six benchmarks for every checkpoint, and beside them bootstrap samples
and halves as the command keeps them, of made-up values: what is measured is reading, intervals,
paired tests within every column, choices on other images, and the tables. The command runs as a
user runs it, imports and all.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--checkpoints", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        zoo = Path(folder)
        make(zoo, args.checkpoints)
        plain = rendered(zoo)
        found: dict[str, Any] = {
            "checkpoints": args.checkpoints,
            "plain_s": plain[0],
            "ci_s": rendered(zoo, "--ci")[0],
            "bold_s": (bold := rendered(zoo, "--ci", "--bold"))[0],
            "intervals": bold[1].count("±"),
            "choices": bold[1].count("**Chosen on other images**"),
        }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def make(zoo: Path, checkpoints: int) -> None:
    """Records through the writers of the tests, samples through those of the command."""
    import msgspec

    from benchmarks import results
    from reports.collect import collect
    from reports.confidence.figures import figures, samples_of
    from reports.confidence.kept import kept_path, write_kept
    from reports.confidence.selection import HALVES
    from tests.reports.conftest import Zoo

    for number in range(checkpoints):
        Zoo(zoo).deepcluster(f"net{number:03d}")
    draws = np.random.default_rng(0)
    for number, one in enumerate(collect(zoo).found):
        record = msgspec.structs.replace(one.record, outcomes=f"{number:064x}")
        results.write(one.path, record)
        known = figures(one)
        values = {figure.name: figure.value for figure in known}
        count = samples_of(record)
        samples = {name: value + draws.normal(0, 0.3, count) for name, value in values.items()}
        write_kept(kept_path(zoo, record, values), samples)
        if isinstance(record, results.VocSvmRecord | results.LowShotRecord):
            rows = (19,) if isinstance(record, results.LowShotRecord) else ()
            halves = {
                name: value + draws.normal(0, 0.3, (*rows, HALVES))
                for name, value in values.items()
            }
            write_kept(kept_path(zoo, record, values, "halves"), halves)


def rendered(zoo: Path, *flags: str) -> tuple[float, str]:
    """The seconds of the command, the faster of two runs, and what it printed."""
    command = [sys.executable, "-m", "reports", "--zoo", str(zoo), *flags]
    seconds, text = [], ""
    for _ in range(2):
        began = time.perf_counter()
        text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        seconds.append(time.perf_counter() - began)
    return round(min(seconds), 2), text


if __name__ == "__main__":
    main()

"""What the commands take before any work: every --help, and the plan of a large suite.

    python tests/perf/help.py --before DIR       DIR is a checkout of the commit to compare with
    python tests/perf/help.py --before DIR --only planning

CPU seconds (user and system) of whole processes; the two trees take turns, and the least of each
counts, for that is what depends on the program alone. Both run in this Python, from their own
folders; byte code is kept in a temporary folder of each, and a first run of each makes it. Planning
is that of tests/perf/slurm.py: --suite model-zoo --dry-run for 1,000 checkpoints, 52,000 items,
each tree with the records that it writes itself.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMANDS = (
    *("benchmarks", "benchmarks.linear_probe", "benchmarks.voc_svm", "benchmarks.low_shot_svm"),
    *("benchmarks.registry", "benchmarks.features", "pretrain", "pretrain deepcluster"),
    *("reports", "slurm"),
)
MOST = 1.05
FILL = """
import sys
from pathlib import Path
sys.path.insert(0, ".")
from tests.perf.slurm import fill_zoo
print(fill_zoo(Path(sys.argv[1]) / "zoo", Path(sys.argv[1]) / "data"))
"""


class Tree:
    """One checkout, and where its byte code and its zoo lie."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root, self.scratch = root, scratch
        unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
        self.environment = {k: v for k, v in os.environ.items() if k not in unwanted}
        self.environment["PYTHONPYCACHEPREFIX"] = str(scratch / "bytecode")

    def run(self, words: list[str]) -> float:
        """The CPU seconds of one process, which must succeed."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *words],
            cwd=self.root,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def plan(self) -> list[str]:
        """The words of the planning command."""
        command = ["-m", "benchmarks", "--ckpt", "ckpt*", "--suite", "model-zoo", "--dry-run"]
        zoo, data = self.scratch / "zoo", self.scratch / "data"
        return [*command, "--data", str(data), "--zoo", str(zoo)]


def least(trees: list[Tree], words: list[list[str]], runs: int) -> tuple[float, float]:
    """The least CPU seconds of each tree, after a run that does not count."""
    taken: list[list[float]] = [[], []]
    for number in range(runs + 1):
        for tree, command, found in zip(trees, words, taken):
            seconds = tree.run(command)
            if number:
                found.append(seconds)
    return min(taken[0]), min(taken[1])


def said(name: str, before: float, now: float) -> dict[str, Any]:
    """Print a row, and return it for the file."""
    ratio = now / before
    mark = "" if ratio <= MOST else f"   above {MOST}"
    print(f"{name:28s} {before:7.3f} s before {now:7.3f} s now   {ratio:.3f}{mark}", flush=True)
    return {"before_s": round(before, 4), "now_s": round(now, 4), "ratio": round(ratio, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, metavar="DIR")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="of each --help")
    parser.add_argument("--plans", type=int, default=5, metavar="N", help="of planning")
    parser.add_argument("--only", choices=("help", "planning"))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="help-perf-") as text:
        trees = []
        for name, root in (("before", args.before.resolve()), ("now", ROOT)):
            (scratch := Path(text) / name).mkdir()
            trees.append(Tree(root, scratch))
        if args.only != "planning":
            for command in COMMANDS:
                words = ["-m", *command.split(), "--help"]
                found[command] = said(command, *least(trees, [words, words], args.runs))
        if args.only != "help":
            for tree in trees:
                tree.run(["-c", FILL, str(tree.scratch)])
            plans = [tree.plan() for tree in trees]
            found["planning"] = said("planning 52,000 items", *least(trees, plans, args.plans))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    if any(row["ratio"] > MOST for row in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()

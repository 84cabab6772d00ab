"""SVM commands of this build against those of an earlier one, whole, in turn, in one run.

python tests/perf/svm_ratios.py                      # against commit 5aee93e; some 15 minutes
python tests/perf/svm_ratios.py --before DIR         # which lies in DIR: needs no git
python tests/perf/svm_ratios.py --device             # and `--device auto` against `cpu`

Every figure is the least wall seconds of `--repeat` runs; before and after follow one another, so
that both see the same machine. Test APs of both builds are compared as well.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package

from tests.perf.svm import SPECTRA, generate_apart, kernels, processor  # noqa: E402

BEFORE = "5aee93e"
LAYERS = (1, 2, 3, 4, 5)
# Both protocols in one sweep, as a suite runs them: the words of either build are its own.
BOTH = """
import sys
from pathlib import Path
from slurm.executor import Launch, run_sweep
try:
    from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
    from benchmarks.catalog.voc07_svm import VOC07_SVM
    from benchmarks.svm.full_item import VocSvm
    from benchmarks.svm.low_shot_item import VocLowShot
    from benchmarks.svm.source import file_source
    of = (VOC07_SVM,)
except ImportError:
    from benchmarks.low_shot_svm import VocLowShot
    from benchmarks.protocols import VOC07_LOW_SHOT, VOC07_SVM
    from benchmarks.svm_source import file_source
    from benchmarks.voc_svm import VocSvm
    of = ()
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folders = [Path(words[name]) for name in ("--zoo", "--features", "--labels")]
source = file_source(*folders, *of, device=words.get("--device", "auto"))
goals = [VocSvm(source, VOC07_SVM), VocLowShot(source, VOC07_LOW_SHOT)]
run_sweep(goals, Launch())
Path(words["--json"]).write_bytes(goals[1].result.read_bytes())
"""
WORK = {
    "full": ("-m", "benchmarks.voc_svm", "--layers", "feature5"),
    "low_shot": ("-m", "benchmarks.low_shot_svm", "--layers", "feature5"),
    "five_layers_full": ("-m", "benchmarks.voc_svm"),
    "five_layers_low_shot": ("-m", "benchmarks.low_shot_svm"),
    "five_layers_both": ("-c", BOTH),
}


def _found() -> list[str]:
    """Where Python finds packages anyway."""
    return [path for path in [os.environ.get("PYTHONPATH")] if path]


def unpack(folder: Path) -> Path:
    """The tree of commit BEFORE."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", BEFORE], check=True, capture_output=True
    )
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def run(tree: Path, data: Path, words: tuple[str, ...]) -> tuple[float, float, dict[str, Any]]:
    """Wall seconds of a command of the build in `tree`, its peak GB, and its record."""
    with tempfile.TemporaryDirectory() as zoo:
        output = Path(zoo) / "out.json"
        flags = ["--features", str(data), "--labels", str(data), "--zoo", zoo, "--json"]
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *words, *flags, str(output)],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tree), *_found()])},
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(words[:2])} failed in {tree}")
        return seconds, usage.ru_maxrss / 2**20, json.loads(output.read_text())


def figures(record: dict[str, Any]) -> list[float]:
    """Every test AP or mean of a record, in points."""
    found: list[float] = []
    for _, layer in sorted(record["layers"].items()):
        if "shots" in layer:
            for _, shot in sorted(layer["shots"].items()):
                found += [mean for row in shot["by_cost"].values() for mean in row]
        else:
            found += layer["ap"]
    return found


def compare(
    name: str, sides: dict[str, tuple[Path, tuple[str, ...]]], data: Path, repeat: int
) -> dict[str, Any]:
    """Run both sides in turn; how many times as fast the second is."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    memory: dict[str, float] = dict.fromkeys(sides, 0.0)
    records: dict[str, dict[str, Any]] = {}
    for _ in range(repeat):
        for side, (tree, words) in sides.items():
            spent, gigabytes, records[side] = run(tree, data, words)
            seconds[side].append(spent)
            memory[side] = max(memory[side], gigabytes)
    first, second = sides
    apart = max(abs(a - b) for a, b in zip(*(figures(records[side]) for side in sides)))
    found = {
        f"{name}_{first}_s": min(seconds[first]),
        f"{name}_{second}_s": min(seconds[second]),
        f"{name}_times_as_fast": min(seconds[first]) / min(seconds[second]),
        f"{name}_most_points_apart": apart,
        f"{name}_{first}_gb": memory[first],
        f"{name}_{second}_gb": memory[second],
        f"{name}_device": records[second]["device"],
    }
    for key, value in found.items():
        print(f"{key:>40}  {value:.4g}" if isinstance(value, float) else f"{key:>40}  {value}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=WORK, action="append", help="may be repeated")
    parser.add_argument("--before", type=Path, help=f"a tree of {BEFORE} (default: from git)")
    parser.add_argument("--device", action="store_true", help="compare auto with cpu instead")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--spectrum", choices=SPECTRA, default="slow")
    parser.add_argument("--data", type=Path, help="keep (and reuse) the generated files here")
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    args = parser.parse_args()
    chosen = args.only or list(WORK)
    layers = LAYERS if any(name.startswith("five") for name in chosen) else (5,)
    with tempfile.TemporaryDirectory() as scratch:
        data = (args.data or Path(scratch) / "data").resolve()
        data.mkdir(parents=True, exist_ok=True)
        if not all((data / f"voc07_test_feat{layer}.npy").exists() for layer in layers):
            generate_apart(data, SPECTRA[args.spectrum], layers)
        tree = Path(scratch) / "before"
        tree.mkdir()
        found: dict[str, Any] = {"machine": f"{processor()}, {os.cpu_count()} cores"}
        found |= {"kernels": kernels(), "load": os.getloadavg()[0], "repeat": args.repeat}
        if not args.device:
            tree = args.before.resolve() if args.before else unpack(tree)
        for name in chosen:
            words = WORK[name]
            if args.device:
                sides = {f"on_{x}": (ROOT, (*words, "--device", x)) for x in ("cpu", "auto")}
            else:
                sides = {"before": (tree, words), "after": (ROOT, words)}
            found |= compare(f"{name}_device" if args.device else name, sides, data, args.repeat)
            if args.json:  # each part at once, since the whole takes long
                known = json.loads(args.json.read_text()) if args.json.exists() else {}
                text = json.dumps(known | found, indent=1, sort_keys=True)
                args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()

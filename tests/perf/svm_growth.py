"""How the SVM commands grow with rows, classes and layers: seconds and peak memory, whole commands.

    python tests/perf/svm_growth.py --json FILE    # a quarter of an hour

Features of 2,048 dimensions, as pooled ones are; VOC07's are 8,192. Low-shot with 205 classes has
as many as Places205.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package

from benchmarks.svm.solver.rows import EXACT_ROWS, MANY_ROWS, NARROW, VERY_NARROW  # noqa: E402
from tests.perf.svm import SPECTRA, TEST, command, generate_apart, kernels, processor  # noqa: E402

DIMENSIONS = 2048
ROWS = (2500, 5000, 10_000, 20_000)  # up to 2,500 products are of fp64
LARGEST = {"trainval": 50_000, "classes": 2}  # whose products are 10 GB
CLASSES = (10, 20, 40, 80)
LAYERS = (1, 2, 4)
PARTS = ("by_rows", "by_classes", "by_layers", "low_shot", "largest")
LOW_SHOT = {"trainval": 20_000, "classes": 205}


def measure(module: str, *more: str, layers: int = 1, **sizes: int) -> dict[str, Any]:
    """One command on generated features; `sizes` are of `generate`."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        generate_apart(folder, SPECTRA["slow"], tuple(range(1, layers + 1)), **sizes)
        seconds, record, gigabytes = command(module, folder, *more)
    found = {**sizes, "layers": layers, "seconds": round(seconds, 1), "gb": round(gigabytes, 2)}
    print(module, json.dumps(found), [note for note in record["notes"] if "unsolved" in note])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    args = parser.parse_args()
    of = {"test": TEST, "dimensions": DIMENSIONS}
    full, low_shot = "benchmarks.voc_svm", "benchmarks.low_shot_svm"
    works: dict[str, Callable[[], Any]] = {
        "by_classes": lambda: [measure(full, trainval=5000, classes=n, **of) for n in CLASSES],
        "by_layers": lambda: [
            measure(full, trainval=5000, classes=20, layers=n, **of) for n in LAYERS
        ],
        "low_shot": lambda: measure(low_shot, "--shots", "1,4,16", **LOW_SHOT, **of),
        "by_rows": lambda: [measure(full, trainval=n, classes=20, **of) for n in ROWS],
        "largest": lambda: measure(full, **LARGEST, **of),
    }
    found: dict[str, Any] = {
        "machine": processor(),
        "kernels": kernels(),
        "dimensions": DIMENSIONS,
        "test": TEST,
    }
    found |= {"many_rows": MANY_ROWS, "narrow": NARROW}
    found |= {"exact_rows": EXACT_ROWS, "very_narrow": VERY_NARROW}
    for name in args.only or PARTS:
        found[name] = works[name]()
        if args.json:  # each part at once, since the whole takes long
            known = json.loads(args.json.read_text()) if args.json.exists() else {}
            args.json.write_text(json.dumps(known | found, indent=1) + "\n")


if __name__ == "__main__":
    main()

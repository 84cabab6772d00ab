"""How the SVM commands grow with rows, classes and layers: seconds and peak memory, whole commands.

    python tests/perf/svm_growth.py --json FILE    # a quarter of an hour; half of it the last rows

Features of 2,048 dimensions, as pooled ones are; VOC07's are 8,192. Low-shot with 205 classes has
as many as Places205.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package

from tests.perf.svm import SPECTRA, TEST, command, generate, processor  # noqa: E402

DIMENSIONS = 2048
ROWS = (2500, 5000, 10_000, 20_000, 50_000)  # up to 2,500 products are of fp64
CLASSES = (10, 20, 40, 80)
LAYERS = (1, 2, 4)
LOW_SHOT = {"trainval": 20_000, "classes": 205}


def measure(module: str, *more: str, layers: int = 1, **sizes: int) -> dict[str, Any]:
    """One command on generated features; `sizes` are of `generate`."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        generate(folder, SPECTRA["slow"], tuple(range(1, layers + 1)), **sizes)
        seconds, record, gigabytes = command(module, folder, *more)
    found = {**sizes, "layers": layers, "seconds": round(seconds, 1), "gb": round(gigabytes, 2)}
    print(module, json.dumps(found), [note for note in record["notes"] if "unsolved" in note])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--most", type=int, default=ROWS[-1], help="rows (default: all of them)")
    args = parser.parse_args()
    found: dict[str, Any] = {"machine": processor(), "dimensions": DIMENSIONS, "test": TEST}
    of = {"test": TEST, "dimensions": DIMENSIONS}
    full, low_shot = "benchmarks.voc_svm", "benchmarks.low_shot_svm"
    found["by_classes"] = [measure(full, trainval=5000, classes=count, **of) for count in CLASSES]
    found["by_layers"] = [
        measure(full, trainval=5000, classes=20, layers=count, **of) for count in LAYERS
    ]
    shots = ("--shots", "1,4,16")
    found["low_shot"] = measure(low_shot, *shots, **LOW_SHOT, **of)
    found["by_rows"] = []
    for rows in ROWS:
        if rows <= args.most:
            found["by_rows"].append(measure(full, trainval=rows, classes=20, **of))
        if args.json:  # each at once, since the last ones take long
            args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""10,000 bootstrap samples of VOC07's mAP, against sorting each sample again.

    python tests/perf/bootstrap.py --json tests/perf/results/bootstrap.json

One layer's test scores of VOC07's size (4,952 images, 20 classes, 7 % positive, 2 % ignored). The
plain way recomputes every AP from the drawn images, by a sort, as the record's own figure is
computed; it is timed on fewer samples, which all take the same time, and compared on those.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse  # noqa: F401 (before the clock starts, as all that is imported)

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package

from benchmarks.metrics import envelope_average_precision  # noqa: E402
from reports.confidence.average_precision import RankedClasses, resampled_maps  # noqa: E402
from reports.confidence.figures import in_blocks  # noqa: E402
from reports.confidence.resampling import RESAMPLES, resample_counts  # noqa: E402

IMAGES, CLASSES, PLAIN = 4952, 20, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9, help="of both sides in turn; medians")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    labels = (rng.random((IMAGES, CLASSES)) < 0.07).astype(np.int8)
    labels[rng.random(labels.shape) < 0.02] = -1
    scores = (rng.normal(size=labels.shape) + (labels == 1)).astype(np.float32)
    sha256 = "ab" * 32
    counts = next(resample_counts(IMAGES, sha256, PLAIN))
    rounds, largest = [], 0.0
    for _ in range(args.rounds):
        began = time.perf_counter()
        classes = RankedClasses(scores, labels)
        figure = {"mAP": lambda counts, begin, of=classes: resampled_maps(of, counts)}
        ours = in_blocks([figure], IMAGES, sha256, RESAMPLES, processes=args.processes)[0]["mAP"]
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        plain = [sorted_again(scores, labels, counts[:, at]) for at in range(PLAIN)]
        rounds.append((seconds, (time.perf_counter() - began) * RESAMPLES / PLAIN))
        largest = max(largest, float(np.abs(ours[:PLAIN] - plain).max()))
    seconds, plain_seconds = (median(side) for side in zip(*rounds))
    found: dict[str, Any] = {
        "resamples": RESAMPLES,
        "images": IMAGES,
        "classes": CLASSES,
        "processes": args.processes,
        "ours_s": round(seconds, 2),
        "plain_s": round(plain_seconds, 1),
        "ratio": round(plain_seconds / seconds, 1),
        "ratios": [round(there / here, 1) for here, there in rounds],
        "largest_difference": largest,
    }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def sorted_again(scores: Any, labels: Any, copies: Any) -> float:
    """The mAP of one sample from its images, percent."""
    drawn = np.repeat(np.arange(IMAGES), copies)
    found = []
    for at in range(CLASSES):
        mine = drawn[labels[drawn, at] != -1]
        found.append(envelope_average_precision(scores[mine, at], labels[mine, at] == 1))
    return 100 * float(np.mean(found))


if __name__ == "__main__":
    main()

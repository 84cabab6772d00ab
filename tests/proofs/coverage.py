"""Whether the intervals of tables and comparisons are what they say, by simulation.

    python tests/proofs/coverage.py --json tests/perf/results/coverage.json

500 test sets are drawn from populations whose top-1 and mAP are known: the share of 95 % intervals
that hold the known figure, and the share of paired tests at 5 % that reject two models that are
equally good (right on other images, by scores of other noise). The known mAP is that of test sets
of as many images, on average: the envelope of a precision is higher on fewer images, for which
the mAP of an endless test set stands beside it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics import envelope_average_precision
from reports.confidence.accuracy import resampled_accuracies
from reports.confidence.average_precision import RankedClasses, resampled_maps
from reports.confidence.intervals import Interval, difference, interval
from reports.confidence.resampling import Floats, resample_counts
from slurm.progress import progress

SETS, RESAMPLES = 500, 1000
IMAGES, CLASSES = 2000, 10
TOP1 = 0.6
PREVALENCE, STRENGTH = 0.08, 1.5  # of a class, and how far its scores lie above the others
POPULATION = 4_000_000  # images of an endless test set
KNOWN_FROM = 40_000  # test sets of one class whose mean AP is taken for the known one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sets", type=int, default=SETS)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    truth = known_map(rng, IMAGES, KNOWN_FROM)
    seen: dict[str, list[bool]] = {
        name: [] for name in ("top1", "map", "paired_top1", "paired_map")
    }
    with progress(desc="test sets", total=args.sets, unit="set") as bar:
        for number in range(args.sets):
            blocks = list(resample_counts(IMAGES, f"{number:064x}", RESAMPLES))
            hits = [rng.random(IMAGES) < TOP1 for _ in range(2)]
            top1 = [np.concatenate([resampled_accuracies(one, x) for x in blocks]) for one in hits]
            values = [100 * float(one.mean()) for one in hits]
            seen["top1"].append(holds(interval(values[0], top1[0]), 100 * TOP1))
            seen["paired_top1"].append(rejects(values, top1))
            labels = (rng.random((IMAGES, CLASSES)) < PREVALENCE).astype(np.int8)
            both = [rng.normal(size=labels.shape) + STRENGTH * labels for _ in range(2)]
            ranked = [RankedClasses(one, labels) for one in both]
            maps = [np.concatenate([resampled_maps(one, x) for x in blocks]) for one in ranked]
            once = np.ones((IMAGES, 1), np.uint16)
            values = [float(resampled_maps(one, once)[0]) for one in ranked]
            seen["map"].append(holds(interval(values[0], maps[0]), truth))
            seen["paired_map"].append(rejects(values, maps))
            bar.update()
    found: dict[str, Any] = {
        "sets": args.sets,
        "resamples": RESAMPLES,
        "images": IMAGES,
        "classes": CLASSES,
        "known_top1": 100 * TOP1,
        "known_map": round(truth, 4),
        "endless_map": round(known_map(rng, POPULATION, 1), 4),
        "covered": {name: percent(seen[name]) for name in ("top1", "map")},
        "rejected": {name: percent(seen[f"paired_{name}"]) for name in ("top1", "map")},
    }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def known_map(rng: np.random.Generator, images: int, sets: int) -> float:
    """The mean AP of a class over test sets, percent; all classes are alike."""
    found = []
    for _ in range(sets):
        labels = rng.random(images) < PREVALENCE
        scores = rng.normal(size=images) + STRENGTH * labels
        found.append(float(envelope_average_precision(scores, labels)))
    return 100 * float(np.mean(found))


def holds(found: Interval, truth: float) -> bool:
    """Whether an interval holds the known figure."""
    return found.low <= truth <= found.high


def rejects(values: list[float], samples: list[Floats] | list[NDArray[Any]]) -> bool:
    """Whether two models are told apart at 5 %."""
    return difference(values[1] - values[0], samples[0], samples[1]).p < 0.05


def percent(seen: list[bool]) -> float:
    """The share of true ones."""
    return round(100 * float(np.mean(seen)), 2)


if __name__ == "__main__":
    main()

"""k-NN against its bare product and top-k, and a path of logistic regressions against scikit-learn.

    python tests/perf/probe.py --json tests/perf/results/probe.json

Both sides of a ratio run in this process, on the same arrays and threads. Smaller sizes for a look:
--train 5000 --queries 500 --rows 2000 --dimensions 64 --classes 10 --costs 9
"""

import argparse
import json
import resource
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package

from benchmarks.catalog.further.imagenet_logreg import COSTS  # noqa: E402
from benchmarks.knn.neighbours import BANK_ROWS, QUERY_ROWS, nearest  # noqa: E402
from benchmarks.logreg.path import solutions  # noqa: E402
from benchmarks.logreg.problem import Model, Problem, Standard  # noqa: E402
from tests.perf.deepcluster import timed  # noqa: E402

CPU = torch.device("cpu")
K = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=5_000)
    parser.add_argument("--width", type=int, default=2_048, help="of k-NN's features")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--costs", type=int, default=45)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "knn": knn(args.train, args.queries, args.width),
        "knn_memory": memory(args.train, args.queries, args.width),
        "logreg": logreg(args.rows, args.dimensions, args.classes, args.costs),
    }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def knn(train: int, queries: int, width: int) -> dict[str, Any]:
    """Ours on fp16 rows as the cache holds them; the bare one on fp32 rows of unit length."""
    rng = np.random.default_rng(0)
    bank = rng.standard_normal((train, width), dtype=np.float32).astype(np.float16)
    asked = rng.standard_normal((queries, width), dtype=np.float32).astype(np.float16)
    began = time.perf_counter()
    ours = nearest(bank, asked, K, CPU)
    seconds = time.perf_counter() - began
    unit = [torch.nn.functional.normalize(torch.from_numpy(x).float()) for x in (bank, asked)]
    began = time.perf_counter()
    parts = [
        [(some @ block.T).topk(min(K, len(block))).values for some in unit[1].split(QUERY_ROWS)]
        for block in unit[0].split(BANK_ROWS)
    ]
    bare = time.perf_counter() - began
    best = torch.cat([torch.cat(part) for part in parts], 1).topk(K).values
    return {
        "train": train,
        "queries": queries,
        "width": width,
        "ours_s": round(seconds, 2),
        "bare_s": round(bare, 2),
        "ratio": round(seconds / bare, 2),
        "largest_difference": float((best - ours.cosines).abs().max()),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def memory(train: int, queries: int, width: int) -> dict[str, Any]:
    """The most that k-NN holds above its start, of a quarter of a file's rows and of all."""
    rng = np.random.default_rng(0)
    asked = rng.standard_normal((queries, width), dtype=np.float32).astype(np.float16)
    counts = (train // 4, train)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "bank.npy"
        bank = np.lib.format.open_memmap(path, "w+", np.float16, (train, width))
        for start in range(0, train, BANK_ROWS):
            part = bank[start : start + BANK_ROWS]
            part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        nearest(bank[:BANK_ROWS], asked, K, CPU)  # what is allocated once
        peaks = [timed(partial(nearest, bank[:count], asked, K, CPU))[1] for count in counts]
    return {"train": counts, "queries": queries, "peak_mib": [round(peak) for peak in peaks]}


def logreg(rows: int, dimensions: int, classes: int, count: int) -> dict[str, Any]:
    """Rectified clouds of a steep spectrum, cost after cost on both sides, each from the last."""
    rng = np.random.default_rng(0)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, rows - classes)]
    points = 0.6 * rng.normal(size=(classes, dimensions))[labels] + rng.normal(
        size=(rows, dimensions)
    )
    points *= np.arange(1, dimensions + 1) ** -0.7
    turned = points @ np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    features = torch.from_numpy(np.maximum(3 * turned + 0.1, 0).astype(np.float32))
    mean = features.double().mean(0)
    one = Problem(
        features, torch.from_numpy(labels), classes, Standard(mean, torch.ones_like(mean))
    )
    costs = [COSTS[place] for place in np.linspace(0, len(COSTS) - 1, count).round().astype(int)]
    judge = LogisticRegression(tol=1e-8, max_iter=100_000, warm_start=True)
    ours = theirs = 0.0
    excess = []
    path = solutions(one, costs)
    for cost in tqdm(costs, desc="costs, on both sides"):
        began = time.perf_counter()
        found = next(path)
        ours += time.perf_counter() - began
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            judge.set_params(C=cost).fit(features.double().numpy(), labels)
        theirs += time.perf_counter() - began
        weight = torch.from_numpy(judge.coef_.T.copy())
        bias = torch.from_numpy(judge.intercept_) + mean @ weight
        excess.append(found.value / one.at(Model(weight, bias), cost).value - 1)
    return {
        "rows": rows,
        "dimensions": dimensions,
        "classes": classes,
        "costs": count,
        "ours_s": round(ours, 2),
        "scikit_learn_s": round(theirs, 2),
        "ratio": round(theirs / ours, 2),
        # Relative to scikit-learn's objective; below 0 where it stopped before its minimum.
        "highest_excess": max(excess),
        "lowest_excess": min(excess),
    }


if __name__ == "__main__":
    main()

"""The gram engine against scikit-learn's LinearSVC, on features of VOC07's size.

    python tests/proofs/svm_agreement.py --spectrum slow --json FILE    # a quarter of an hour

Compared are the test AP of every class at its chosen cost, and the cross-validation AP of some
classes at all costs, with LinearSVC at tol 1e-8; the test mAP of LinearSVC as the public scripts
call it; and the low-shot mAP of one draw at some k and costs. Smaller data of more kinds
(duplicates, constant columns, n < d and n > d, ties) are in tests/benchmarks/test_svm.py.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.perf.svm import CLASSES, SPECTRA, command, generate  # noqa: E402

CV_CLASSES = (0, 10, 19)  # fewest, middle and most positives; at all costs
SHOTS, SHOT_COSTS = (1, 16, 96), (0.5**10, 0.5**4, 1.0, 100.0)
TIGHT = {"tol": 1e-8, "max_iter": 1_000_000}
PUBLIC = {"tol": 1e-4, "max_iter": 2000}
_shared: dict[str, Any] = {}


class Task(NamedTuple):
    """A fit on the rows where `labels` (N,) is not 0, and the rows of trainval or test to score."""

    labels: NDArray[np.int8]
    cost: float
    limits: dict[str, float]
    held: NDArray[np.bool_] | None  # of trainval; None: test


def scores(task: Task) -> NDArray[np.float64]:
    """Decision values of a fit by scikit-learn."""
    from sklearn.svm import LinearSVC

    warnings.simplefilter("error")
    if task.limits == PUBLIC:
        warnings.simplefilter("ignore")
    rows = task.labels != 0
    machine = LinearSVC(
        C=task.cost,
        class_weight={1: 2, -1: 1},
        intercept_scaling=1.0,
        random_state=0,
        **task.limits,
    )
    machine.fit(_shared["trainval"][rows], task.labels[rows])
    scored = _shared["test"] if task.held is None else _shared["trainval"][task.held]
    found: NDArray[np.float64] = machine.decision_function(scored)
    return found


def run(tasks: list[Task], what: str) -> list[NDArray[np.float64]]:
    began = time.monotonic()
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        found = list(pool.map(scores, tasks))
    print(f"{what}: {len(tasks)} fits by LinearSVC in {time.monotonic() - began:.0f} s", flush=True)
    return found


def read(folder: Path) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    for split in ("trainval", "test"):
        rows = np.load(folder / f"voc07_{split}_feat5.npy").astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5
        _shared[split] = rows
    return np.load(folder / "train_labels.npy"), np.load(folder / "test_labels.npy")


def compare(folder: Path) -> dict[str, Any]:
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import StratifiedKFold

    from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
    from benchmarks.catalog.voc07_svm import VOC07_SVM
    from benchmarks.metrics import envelope_average_precision
    from benchmarks.svm.draws import draw

    one = ("--layers", "feature5")
    _, record, _ = command("benchmarks.voc_svm", folder, *one)
    shots = ("--shots", ",".join(map(str, SHOTS)), "--samples", "1")
    _, low, _ = command("benchmarks.low_shot_svm", folder, *one, *shots)
    ours, shot_records = record["layers"]["feature5"], low["layers"]["feature5"]["shots"]
    train, test = read(folder)
    signs = np.where(train == 1, 1, -1).astype(np.int8)

    def test_ap(column: int, values: NDArray[np.float64]) -> float:
        kept = test[:, column] != -1
        return float(envelope_average_precision(values[kept], test[kept, column] == 1))

    found: dict[str, Any] = {}
    for name, limits in (("tight", TIGHT), ("public", PUBLIC)):
        tasks = [Task(signs[:, c], ours["cost"][c], limits, None) for c in range(CLASSES)]
        ap = [100 * test_ap(c, values) for c, values in enumerate(run(tasks, f"refit, {name}"))]
        found[f"ap_{name}_max_difference"] = float(np.abs(np.subtract(ap, ours["ap"])).max())
        found[f"map_{name}_difference"] = abs(float(np.mean(ap)) - ours["map"])
    differences, gaps = [], []
    for column in CV_CLASSES:
        label = signs[:, column]
        helds = [
            np.isin(np.arange(len(label)), held)
            for _, held in StratifiedKFold(VOC07_SVM.folds).split(label, label)
        ]
        tasks = [
            Task(np.where(held, 0, label).astype(np.int8), cost, TIGHT, held)
            for cost in VOC07_SVM.costs
            for held in helds
        ]
        aps = [
            100 * average_precision_score(label[task.held] == 1, values)
            for task, values in zip(tasks, run(tasks, f"cross-validation, class {column}"))
        ]
        table = np.mean(np.reshape(aps, (-1, VOC07_SVM.folds)), axis=1)
        differences.append(np.abs(table - ours["cv_ap"][column]).max())
        # By how much the reference prefers its own choice to ours: 0 where they are the same.
        gaps.append(table.max() - table[VOC07_SVM.costs.index(ours["cost"][column])])
    found["cv_cost_max_regret"] = float(max(gaps))
    found["cv_ap_max_difference"] = float(max(differences))
    names = tuple(f"class{column}" for column in range(CLASSES))
    for name, limits in (("tight", TIGHT), ("public", PUBLIC)):
        differences = []
        for k in SHOTS:
            targets = draw(train, names, 1, k, VOC07_LOW_SHOT.negatives_per_positive, 0)
            drawn = np.select([targets == 1, targets == 0], [1, -1], 0).astype(np.int8)
            tasks = [
                Task(drawn[:, c], cost, limits, None) for cost in SHOT_COSTS for c in range(CLASSES)
            ]
            values = run(tasks, f"k={k}, {name}")
            for at, cost in enumerate(SHOT_COSTS):
                ap = [100 * test_ap(c, values[at * CLASSES + c]) for c in range(CLASSES)]
                known = shot_records[str(k)]["by_cost"][repr(cost)][0]
                differences.append(abs(float(np.mean(ap)) - known))
        found[f"low_shot_map_{name}_max_difference"] = max(differences)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spectrum", choices=SPECTRA, default="slow")
    parser.add_argument("--data", type=Path, help="keep (and reuse) the generated files here")
    parser.add_argument("--json", type=Path, help="write the differences (points of AP) here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.data or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "voc07_test_feat5.npy").exists():
            generate(folder, SPECTRA[args.spectrum])
        found = {"spectrum": args.spectrum, **compare(folder)}
    for name, value in found.items():
        print(f"{name:>36}  {value}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""How many times faster than the public procedure, on features of VOC07's size, in one run.

python tests/perf/svm.py                    # all that follows; about 20 minutes on 2 cores
python tests/perf/svm.py --only full        # or: low-shot, scoring, layers, public-full, ...

The public procedure is LinearSVC and cross_val_score for every class and cost, timed on a stated
sample of classes (and k) and extrapolated by the number of fits: the full protocol with two
processes, as the public trainer has workers; low-shot with one, as its trainer and its scorer are
serial (the parallel trainer, which pickles the whole matrix for each task, is slower).
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package

TRAINVAL, TEST, DIMENSIONS, CLASSES = 5011, 4952, 8192, 20
SPECTRA = {"slow": 0.4, "fast": 0.8}
PARTS = ("full", "low-shot", "scoring", "layers", "public-full", "public-low-shot")
SAMPLE_CLASSES = (0, 10, 18, 19)  # ascending by positives; the last one has most by far
LOW_SHOT_CLASSES = (4, 14)  # whose problems are of the same size as all others'
SAMPLE_SHOTS = (1, 16, 96)
_shared: dict[str, Any] = {}


def generate(
    folder: Path,
    decay: float,
    layers: tuple[int, ...] = (5,),
    seed: int = 0,
    *,
    trainval: int = TRAINVAL,
    test: int = TEST,
    dimensions: int = DIMENSIONS,
    classes: int = CLASSES,
) -> None:
    """Features and labels whose test mAP is near that of VOC07's.

    Like pooled features after a ReLU they are non-negative and mostly positive, so that their mean
    holds most of their energy; around it their spectrum falls as rank ** -decay. A label is a
    noisy direction among the leading ones.
    """
    rng = np.random.default_rng(seed)
    count, rank = trainval + test, 1024
    ranks = np.arange(1, rank + 1)
    hidden = rng.standard_normal((count, rank), dtype=np.float32)
    labels = np.zeros((count, classes), dtype=np.int8)
    shares = np.append(np.geomspace(0.022, 0.1, classes - 1), 0.4)
    for column, share in enumerate(shares):
        direction = rng.standard_normal(rank) * ranks**-0.8
        score = hidden @ (direction / np.linalg.norm(direction)).astype(np.float32)
        score += 0.25 * rng.standard_normal(count, dtype=np.float32)
        labels[:, column] = score > np.quantile(score, 1 - share)
    labels[rng.random(labels.shape) < 0.023] = -1
    np.save(folder / "train_labels.npy", labels[:trainval])
    np.save(folder / "test_labels.npy", labels[trainval:])
    spectrum = (ranks**-decay).astype(np.float32)
    for layer in layers:
        mixing = rng.standard_normal((rank, dimensions), dtype=np.float32) * spectrum[:, None]
        features = hidden @ mixing
        features /= features.std()
        features += 0.1 * rng.standard_normal(features.shape, dtype=np.float32)
        np.maximum(features + 1.1, 0, out=features)
        np.save(folder / f"voc07_trainval_feat{layer}.npy", features[:trainval])
        np.save(folder / f"voc07_test_feat{layer}.npy", features[trainval:])


def generate_apart(folder: Path, *given: Any, **sizes: int) -> None:
    """As `generate`, in a process of its own: Linux counts a parent's memory as its child's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(generate, folder, *given, **sizes).result()


def command(module: str, folder: Path, *more: str) -> tuple[float, dict[str, Any], float]:
    """Seconds of the whole command, its record, and its peak memory in GB."""
    with tempfile.TemporaryDirectory() as zoo:
        path = Path(zoo) / "out.json"
        arguments = ["--features", str(folder), "--labels", str(folder), "--zoo", zoo]
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--json", str(path), *more]
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{module} failed")
        return seconds, json.loads(path.read_text()), usage.ru_maxrss / 2**20


def public_full(folder: Path, costs: tuple[float, ...]) -> float:
    """Seconds of the public full procedure for all classes, from SAMPLE_CLASSES.

    Between the sampled classes the seconds are interpolated linearly by their positives.
    """
    positive = np.load(folder / "train_labels.npy") == 1
    of_class = []
    for column in SAMPLE_CLASSES:
        # Large costs take longest: first, so that no process is left with one at the end.
        tasks = [(np.where(positive[:, column], 1, -1), cost) for cost in sorted(costs)[::-1]]
        of_class.append(_timed(folder, _cross_validate, tasks))
    counts = positive.sum(0)
    return float(np.interp(counts, counts[list(SAMPLE_CLASSES)], of_class).sum())


def public_low_shot(folder: Path, costs: tuple[float, ...], shots: tuple[int, ...]) -> float:
    """Seconds of the public low-shot procedure, from one draw of LOW_SHOT_CLASSES and SAMPLE_SHOTS.

    Between the sampled k the seconds of a fit are interpolated linearly.
    """
    from benchmarks.svm.draws import draw

    labels = np.load(folder / "train_labels.npy")
    names = tuple(str(column) for column in range(CLASSES))
    of_k = []
    for k in SAMPLE_SHOTS:
        targets = draw(labels, names, 1, k, 19, 0)
        tasks = [(targets[:, column], cost) for column in LOW_SHOT_CLASSES for cost in costs]
        of_k.append(_timed(folder, _fit_and_score, tasks, processes=1) / len(LOW_SHOT_CLASSES))
    return float(np.interp(shots, SAMPLE_SHOTS, of_k).sum()) * CLASSES * 5


def _timed(
    folder: Path, work: Callable[[Any], None], tasks: list[Any], processes: int = 2
) -> float:
    """Wall seconds of processes that share the matrices by forking."""
    for split in ("trainval", "test"):
        if (split, folder) not in _shared:
            rows = np.load(folder / f"voc07_{split}_feat5.npy").astype(np.float64)
            _shared[split] = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5)
            _shared[split, folder] = True
    _shared["test_positive"] = np.load(folder / "test_labels.npy")[:, SAMPLE_CLASSES[0]] == 1
    start = time.perf_counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        list(pool.map(work, tasks))
    return time.perf_counter() - start


def _machine(cost: float) -> Any:
    from sklearn.svm import LinearSVC

    warnings.simplefilter("ignore")
    return LinearSVC(
        C=cost, class_weight={1: 2, -1: 1}, intercept_scaling=1.0, max_iter=2000, tol=1e-4
    )


def _cross_validate(task: tuple[NDArray[Any], float]) -> None:
    """One task of the public trainer: cross-validation, then a fit on all rows."""
    from sklearn.model_selection import cross_val_score

    labels, cost = task
    machine = _machine(cost)
    cross_val_score(machine, _shared["trainval"], labels, cv=3, scoring="average_precision")
    machine.fit(_shared["trainval"], labels)


def _fit_and_score(task: tuple[NDArray[Any], float]) -> None:
    targets, cost = task
    rows = targets != -1
    machine = _machine(cost).fit(_shared["trainval"][rows], np.where(targets[rows] == 1, 1, -1))
    scores = machine.decision_function(_shared["test"])
    _loop_average_precision(scores, _shared["test_positive"])


def _loop_average_precision(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """The envelope AP image by image, as a Python loop like the public scorer's."""
    hits = positive[np.argsort(-scores)]
    precision, found = [], 0
    for rank, hit in enumerate(hits, start=1):
        found += hit
        if hit:
            precision.append(found / rank)
    best, total = 0.0, 0.0
    for value in reversed(precision):
        best = max(best, value)
        total += best
    return total / max(found, 1)


def scoring() -> dict[str, float]:
    """Milliseconds of one AP on 4952 rows, averaged over 100 columns."""
    from benchmarks.metrics import envelope_average_precision, step_average_precision

    rng = np.random.default_rng(0)
    scores, positive = rng.standard_normal((100, TEST)), rng.random(TEST) < 0.05
    found = {}
    for score in (step_average_precision, envelope_average_precision):
        score(scores, positive)
        start = time.perf_counter()
        score(scores, positive)
        found[f"{score.__name__}_ms"] = 10 * (time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    parser.add_argument("--spectrum", choices=SPECTRA, default="slow")
    parser.add_argument("--data", type=Path, help="keep (and reuse) the generated files here")
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.data or Path(scratch)
        for part in measure(args.only or list(PARTS), folder, args.spectrum):
            found |= part
            if args.json:  # each part at once, since the whole takes long
                args.json.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    report(found)


def measure(parts: list[str], folder: Path, spectrum: str) -> Iterator[dict[str, Any]]:
    from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
    from benchmarks.catalog.voc07_svm import VOC07_SVM

    folder.mkdir(parents=True, exist_ok=True)
    layers = (1, 2, 3, 4, 5) if "layers" in parts else (5,)
    if not all((folder / f"voc07_test_feat{layer}.npy").exists() for layer in layers):
        generate_apart(folder, SPECTRA[spectrum], layers)
    yield {
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "kernels": kernels(),
        "spectrum": spectrum,
        "sampled": (
            f"classes {SAMPLE_CLASSES}; "
            f"low-shot: classes {LOW_SHOT_CLASSES}, k {SAMPLE_SHOTS} of one draw"
        ),
        "load": os.getloadavg()[0],
    }
    one = ("--layers", "feature5")
    if "full" in parts:
        seconds, record, memory = command("benchmarks.voc_svm", folder, *one)
        full_map = record["layers"]["feature5"]["map"]
        yield {"full_s": seconds, "full_gb": memory, "full_map": full_map}
    if "low-shot" in parts:
        seconds, record, memory = command("benchmarks.low_shot_svm", folder, *one)
        shots = record["layers"]["feature5"]["shots"]
        means = {k: shot["mean"] for k, shot in shots.items()}
        yield {"low_shot_s": seconds, "low_shot_gb": memory, "low_shot_means": means}
    if "scoring" in parts:
        yield scoring()
    if "layers" in parts:
        full, _, memory = command("benchmarks.voc_svm", folder)
        low, _, more = command("benchmarks.low_shot_svm", folder)
        yield {"five_layers_s": full + low, "five_layers_gb": max(memory, more)}
    if "public-full" in parts:
        yield {"public_full_s": public_full(folder, VOC07_SVM.costs)}
    if "public-low-shot" in parts:
        shots = VOC07_LOW_SHOT.shots
        yield {"public_low_shot_s": public_low_shot(folder, VOC07_LOW_SHOT.costs, shots)}


def report(found: dict[str, Any]) -> None:
    for name, value in found.items():
        print(f"{name:>32}  {value:.4g}" if isinstance(value, float) else f"{name:>32}  {value}")
    for name in ("full", "low_shot"):
        if f"{name}_s" in found and f"public_{name}_s" in found:
            ratio = found[f"public_{name}_s"] / found[f"{name}_s"]
            print(f"{name} protocol: {ratio:.0f} times as fast as the public procedure")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"peak memory of a child process: {peak:.2f} GB")


def kernels() -> str:
    """For which processor OpenBLAS's products are written that NumPy makes here.

    OPENBLAS_CORETYPE in the environment takes the choice from it.
    """
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    found = {one["architecture"] for one in threadpool_info() if one["internal_api"] == "openblas"}
    return ", ".join(sorted(found)) or "another library's"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()

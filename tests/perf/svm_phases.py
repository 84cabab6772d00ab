"""Where the wall seconds of an SVM command go, phase by phase, seen from its parent process.

python tests/perf/svm_phases.py voc_svm --features DIR --labels DIR --zoo DIR [any other flag]

Printed are the seconds within each phase, without those of the phases inside it, and how often it
ran. All modules are imported first, which the command itself does while it multiplies.
"""

import importlib
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package

PHASES = (
    ("hashing files", "benchmarks.features.files", "fingerprint"),
    ("checking values", "benchmarks.features.files", "_check_values"),
    ("reading a layer", "benchmarks.svm.source", "Source.read"),
    ("rows and Gram", "benchmarks.svm.machine", "_engine"),
    ("equal rows", "benchmarks.svm.gram", "first_alike"),
    ("eigenspace", "benchmarks.svm.gram", "eigenspace"),
    ("test Gram", "benchmarks.svm.solver.kernel", "Kernel.test_gram"),
    ("batched solver", "benchmarks.svm.solver.batch", "solve"),
    ("blocks of large problems", "benchmarks.svm.solver.batch", "finish"),
    ("looking at all rows", "benchmarks.svm.solver.compact", "_Check.run"),
    ("small problems", "benchmarks.svm.gram", "solve_small"),
    ("exact weights", "benchmarks.svm.solver.kernel", "Kernel.exact_weights"),
    ("exact scores", "benchmarks.svm.solver.kernel", "Kernel.exact_scores"),
    ("scores of large problems", "benchmarks.svm.gram", "GramEngine._score_test"),
    ("full protocol, the rest of it", "benchmarks.svm.full_item", "VocSvmLayer.run"),
    ("low-shot, the rest of it", "benchmarks.svm.low_shot_item", "LowShot.run"),
    ("draws", "benchmarks.svm.draws", "read_or_draw"),
    ("ranks of outcomes", "benchmarks.svm.evaluation", "ranks"),
    ("writing outcomes", "benchmarks.svm.parts", "write_outcomes"),
)
_seconds: dict[str, float] = {}
_times: dict[str, int] = {}
_open: list[list[Any]] = []  # phases that are under way: name, seconds of those inside


def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        _open.append([name, 0.0])
        try:
            return work(*args, **kwargs)
        finally:
            whole = time.perf_counter() - start
            inside = _open.pop()[1]
            _seconds[name] = _seconds.get(name, 0.0) + whole - inside
            _times[name] = _times.get(name, 0) + 1
            if _open:
                _open[-1][1] += whole

    return run


def main() -> None:
    command = sys.argv[1]
    module = importlib.import_module(f"benchmarks.{command}")
    modules = [importlib.import_module(where) for _, where, _ in PHASES]
    for (name, _, target), owner in zip(PHASES, modules):
        place: Any = owner
        *path, last = target.split(".")
        for part in path:
            place = getattr(place, part)
        setattr(place, last, timed(name, getattr(place, last)))
    began = time.perf_counter()
    try:
        module.main(sys.argv[2:])
    finally:
        ended = time.perf_counter()
        print(f"{'seconds':>9} {'times':>6}  phase")
        print(f"{began - BEGAN:9.3f} {1:6}  importing all modules")
        for name, seconds in sorted(_seconds.items(), key=lambda one: -one[1]):
            print(f"{seconds:9.3f} {_times[name]:6}  {name}")
        known = sum(_seconds.values())
        print(f"{ended - began - known:9.3f} {1:6}  the rest of the command")
        print(f"{ended - BEGAN:9.3f} {1:6}  all, without the start of Python")


if __name__ == "__main__":
    main()

"""Where the wall seconds of an SVM command go, phase by phase, seen from its parent process.

python tests/perf/svm_phases.py voc_svm --features DIR --labels DIR --zoo DIR [any other flag]

Printed are the seconds within each phase, without those of the phases inside it, the CPU seconds of
all threads and processes meanwhile, and how often it ran. All modules are imported first, which the
command itself does while it multiplies.
"""

import importlib
import resource
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
    ("test Gram", "benchmarks.svm.solver.kernel", "Kernel.test_rows"),
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
    ("writing outcomes", "benchmarks.svm.parts", "write_outcomes"),
)
_seconds: dict[str, list[float]] = {}  # of the clock, and of all CPUs
_times: dict[str, int] = {}
_open: list[list[float]] = []  # phases that are under way: the seconds of those inside


def clocks() -> list[float]:
    """Wall seconds, and CPU seconds of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return [time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)]


def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        start = clocks()
        _open.append([0.0, 0.0])
        try:
            return work(*args, **kwargs)
        finally:
            whole = [end - begin for end, begin in zip(clocks(), start)]
            inside = _open.pop()
            known = _seconds.setdefault(name, [0.0, 0.0])
            for at, seconds in enumerate(whole):
                known[at] += seconds - inside[at]
                if _open:
                    _open[-1][at] += seconds
            _times[name] = _times.get(name, 0) + 1

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
    began = clocks()
    try:
        module.main(sys.argv[2:])
    finally:
        ended = clocks()
        known = [sum(column) for column in zip(*_seconds.values())]
        rest = [end - begin - here for end, begin, here in zip(ended, began, known)]
        rows = [([began[0] - BEGAN, began[1]], 1, "importing all modules")]
        ordered = sorted(_seconds.items(), key=lambda one: -one[1][0])
        rows += [(seconds, _times[name], name) for name, seconds in ordered]
        rows += [(rest, 1, "the rest of the command")]
        rows += [([ended[0] - BEGAN, ended[1]], 1, "all, without the start of Python")]
        print(f"{'seconds':>9} {'CPU':>9} {'times':>6}  phase")
        for (wall, cpu), times, name in rows:
            print(f"{wall:9.3f} {cpu:9.3f} {times:6}  {name}")


if __name__ == "__main__":
    main()

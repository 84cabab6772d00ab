"""What fp32 products of all rows do to cross-validation, against fp64 ones solved more tightly.

    python tests/proofs/svm_rounding.py --json FILE    # some three minutes

Features of VOC07's size with spectra that fall slowly, faster, and so fast that their last
directions drown in fp32; and features of fewer dimensions, whose products are not kept. Compared
are all cross-validation APs (20 classes, 19 costs), the costs chosen by them, and the test APs, in
points.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.catalog.voc07_svm import VOC07_SVM  # noqa: E402
from benchmarks.results import SvmLayer  # noqa: E402
from benchmarks.svm import machine as machines  # noqa: E402
from benchmarks.svm.evaluation import evaluate_full  # noqa: E402
from benchmarks.svm.solver import (  # noqa: E402
    block_solver,
    compact,
    newton,
    problems,
    rows,
)
from benchmarks.svm.source import file_source  # noqa: E402
from tests.perf.svm import generate  # noqa: E402

DECAYS = (0.4, 0.8, 1.5)
NARROW = 1024  # dimensions
TIGHT = 1e-8
SOLVERS = (block_solver, compact, newton, problems)


@contextmanager
def exactly() -> Iterator[None]:
    """Within the block products are of fp64, and problems solved to `TIGHT`."""
    with patch.object(rows, "EXACT_ROWS", 10**9), patch.object(block_solver, "INNER", 0.3 * TIGHT):
        patches = [patch.object(module, "TOLERANCE", TIGHT) for module in SOLVERS]
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in patches:
                one.stop()


def layer(folder: Path) -> SvmLayer:
    """The full protocol on the features in a folder."""
    source = file_source(folder / "zoo", folder, folder, VOC07_SVM, name="rounding")
    machine = machines.Machine(
        data=source.read("feature5"),
        solver="gram",
        epsilon=VOC07_SVM.norm_epsilon,
        positive_weight=VOC07_SVM.positive_weight,
        seed=0,
        device="auto",
    )
    machines._engine.cache_clear()
    return evaluate_full(machine, VOC07_SVM)


def apart(one: Any, other: Any) -> float:
    """The largest difference."""
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


def compared(decay: float, narrow: bool) -> dict[str, Any]:
    """What is found by default against the same problems solved exactly."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        generate(folder, decay, **({"dimensions": NARROW} if narrow else {}))
        with patch.object(rows, "MANY_ROWS", 0 if narrow else rows.MANY_ROWS):
            here = layer(folder)
        with exactly():
            exact = layer(folder)
    return {
        "cross_validation_points": apart(here.cv_ap, exact.cv_ap),
        "test_points": apart(here.ap, exact.ap),
        "other_costs": sum(a != b for a, b in zip(here.cost, exact.cost)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for decay in DECAYS:
        for narrow in (False, True):
            name = f"{decay} narrow" if narrow else str(decay)
            found[name] = compared(decay, narrow)
            print(name, json.dumps(found[name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""DeepCluster wins the demo's tables however a processor rounds, and with other seeds.

    python tests/proofs/demo_wins.py --json FILE

`make demo` once a variant: pretrained with other seeds, and with the libraries told to take the
instructions of other processors, of which Intel's older ones. For each, every column of DeepCluster
less the random trunk, with its paired 95 % interval (`python -m reports compare`). An emulation: it
changes the order of sums and the last bits, as another processor does, but is not one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RANDOM, OURS = "random-sobel_resnet18", "deepcluster-digits"
ASKED = ("Feature2", "Feature3", "Feature4", "Feature5", "AvgPool")  # columns of linear tables


def instructions(torch: str, onednn: str, mkl: str, openblas: str) -> dict[str, str]:
    """What makes each library take other kernels than the processor's own."""
    return {
        "ATEN_CPU_CAPABILITY": torch,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "MKL_CBWR": mkl,
        "OPENBLAS_CORETYPE": openblas,
    }


VARIANTS: dict[str, tuple[int, dict[str, str]]] = {
    "as it is": (0, {}),
    "pretraining seed 1": (1, {}),
    "pretraining seed 2": (2, {}),
    "SSE (Nehalem)": (0, instructions("default", "SSE41", "COMPATIBLE", "NEHALEM")),
    "AVX2 (Haswell)": (0, instructions("avx2", "AVX2", "AVX2", "HASWELL")),
    "AVX-512 (Skylake-X)": (0, instructions("avx512", "AVX512_CORE", "AVX512", "SKYLAKEX")),
}


def run_demo(folder: Path, seed: int, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Its columns, DeepCluster less the random trunk."""
    log = folder.with_suffix(".log")
    with log.open("w") as file:
        done = subprocess.run(
            ["make", "-o", ".venv/.installed", "demo", f"DEMO={folder}", f"DEMO_SEED={seed}"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=file,
            stderr=file,
        )
    if done.returncode:
        raise SystemExit(f"the demo failed; see {log}")
    command = [sys.executable, "-m", "reports", "compare", RANDOM, OURS, "--json", "-"]
    told = subprocess.run(
        [*command, "--zoo", str(folder / "zoo")], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    text = told.stdout.decode()
    columns: list[dict[str, Any]] = json.loads(text[text.index("{") :])["columns"]
    return columns


def summary(columns: list[dict[str, Any]]) -> dict[str, Any]:
    """How many columns are won, by how much at least, and which are not beyond the noise."""
    asked = [one for one in columns if one["column"] in ASKED]
    least = min(asked, key=lambda one: float(one["low"]))
    return {
        "asked": len(asked),
        "beyond_noise": sum(one["low"] > 0 for one in asked),
        "all": len(columns),
        "all_beyond_noise": sum(one["low"] > 0 for one in columns),
        "closest": f"{least['table']}, {least['column']}",
        "closest_difference": round(least["difference"], 2),
        "closest_low": round(least["low"], 2),
        "not_won": [f"{one['table']}, {one['column']}" for one in columns if one["low"] <= 0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=VARIANTS, action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    parser.add_argument("--keep", type=Path, help="work (and stay) in this folder")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        for name in args.only or VARIANTS:
            seed, environment = VARIANTS[name]
            columns = run_demo(root / name.split(" (")[0].replace(" ", "-"), seed, environment)
            found[name] = summary(columns)
            print(json.dumps({name: found[name]}, indent=1), flush=True)
            if args.json:
                args.json.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(any(one["beyond_noise"] < one["asked"] for one in found.values()))


if __name__ == "__main__":
    main()

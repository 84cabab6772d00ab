"""Write the measured figures of README.md from the results that the scripts here left as data.

python tests/perf/measured.py            # rewrites what stands between the two markers
python tests/perf/measured.py --check    # exit 1 when README.md is stale
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
SPECTRA = ("slow", "fast")


def read(name: str) -> dict[str, Any]:
    """A result file as it was left by its script."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def lines() -> Iterator[str]:
    """The markdown between the markers."""
    svm = {spectrum: read(f"svm-{spectrum}") for spectrum in SPECTRA}
    agreement = {spectrum: read(f"agreement-{spectrum}") for spectrum in SPECTRA}
    slurm = read("slurm")
    machine = svm["slow"]["machine"]
    yield f"Machine: {machine}, no GPU. Seconds are of whole commands, start-up included."
    yield ""
    yield "| VOC07 SVMs, one layer of 5,011 + 4,952 x 8,192 | ours | public procedure | ratio |"
    yield "| --- | --- | --- | --- |"
    for key, name in (("full", "full protocol"), ("low_shot", "low-shot, k = 1..96")):
        for spectrum, found in svm.items():
            ours, public = found[f"{key}_s"], found[f"public_{key}_s"]
            ratio = f"**{public / ours:.0f}x**"
            yield f"| {name}, {spectrum} spectrum | {ours:.0f} s | {public:.0f} s | {ratio} |"
    yield ""
    slow = svm["slow"]
    yield (
        "The public procedure is LinearSVC (and cross_val_score) for every class and cost, as "
        "MMSelfSup's scripts call it; it was timed in the same run on a sample "
        f"({slow['sampled']}) and extrapolated by the number of fits: the full protocol with two "
        "processes, low-shot with one, as its scripts are serial."
    )
    peak = max(found[key] for found in svm.values() for key in found if key.endswith("_gb"))
    yield (
        f"All five layers, both protocols: {slow['five_layers_s'] / 60:.1f} minutes; peak memory "
        f"of any of these commands: {peak:.1f} GB. One AP: "
        f"{slow['step_average_precision_ms']:.2f} ms step-wise, "
        f"{slow['envelope_average_precision_ms']:.2f} ms with envelope."
    )
    yield ""
    tight = max(found["ap_tight_max_difference"] for found in agreement.values())
    folds = max(found["cv_ap_max_difference"] for found in agreement.values())
    public = max(
        value
        for found in agreement.values()
        for key, value in found.items()
        if key in ("map_public_difference", "low_shot_map_public_max_difference")
    )
    yield (
        "Agreement on the same features, in points of AP (0..100): with LinearSVC at tol 1e-8 no "
        f"class differs by more than {tight:.1e} at its chosen cost, nor a cross-validation AP by "
        f"more than {folds:.1e}; with LinearSVC as the public scripts call it, no mAP by more "
        f"than {public:.1e}."
    )
    yield ""
    yield (
        f"SLURM (three nodes on loopback): {slurm['tasks']} no-op items through the launcher take "
        f"{slurm['overhead']:.2f} times as long as a plain sbatch array of the same Python "
        f"({slurm['ours_s']:.0f} s against {slurm['plain_s']:.0f} s). Planning "
        f"`--suite model-zoo` for {slurm['planning_checkpoints']:,} checkpoints "
        f"({slurm['planning_items']:,} items) with `--dry-run` takes {slurm['planning_s']:.1f} s."
    )
    killed = read("demo-killed")
    yield ""
    yield (
        f"`make demo`, killed {len(killed['kills'])} times by SIGKILL and started again, ended in "
        f"the same bits as one left alone: {len(killed['differs'])} of "
        f"{len(killed['compared'])} weights, records and tables differ."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = before + BEGIN + "\n".join(["", *lines(), "", ""]) + END + after
    if fresh == text:
        return
    if args.check:
        sys.exit("README.md is stale: run python tests/perf/measured.py")
    readme.write_text(fresh)


if __name__ == "__main__":
    main()

"""The demo's benchmarks for three checkpoints, as arrays with dependencies.

The data are the demo's, with every sixth line of its lists, so that this ends in minutes. That
leaves too few positives for 96 shots, so the low-shot benchmark runs on feature files.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR
from tests.slurm.real.conftest import ROOT, Lab

CHECKPOINTS = "random:resnet18,random:resnet10t,random:sobel_resnet10t"
BENCHMARKS = (
    "voc07_svm,imagenet_linear,imagenet_avgpool,places205_linear,inaturalist18_linear"  # of digits
)
# Of one computation, not of its result; the last ones are of parts.
PROVENANCE = ("commit", "host", "started", "seconds", "made", "gpu_bytes", "host_bytes")
SAME_BITS = ("--device", "cpu", "--threads", "1")
LISTS = (
    "VOCdevkit/VOC2007/ImageSets/Main/*.txt",
    "imagenet/meta/*.txt",
    "inaturalist2018/meta/*.txt",
    "places205/trainvalsplit_places205/*.csv",
)


def run(lab: Lab, module: str, zoo: Path, *flags: str) -> None:
    """`python -m MODULE` on this machine or on the cluster, with equal bits."""
    subprocess.run(
        [sys.executable, "-m", module, "--zoo", str(zoo), *SAME_BITS, *flags],
        cwd=ROOT,
        env=lab.cluster.environment,
        check=True,
        timeout=1200,
    )


def write_data(data: Path) -> None:
    """The demo's data sets."""
    command = [sys.executable, "-m", "benchmarks.datasets.digits", str(data)]
    subprocess.run(command, cwd=ROOT, check=True)


def shorten_lists(data: Path) -> None:
    """Leave every sixth image in the lists."""
    for pattern in LISTS:
        for path in data.glob(pattern):
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(lines[::6]))


def records(zoo: Path) -> dict[str, Any]:
    """The result records by their place in the zoo, without what differs between computations."""
    found = {}
    for path in zoo.glob("results/**/*.json"):
        record = json.loads(path.read_text())
        for name in PROVENANCE:
            record.pop(name, None)
        found[str(path.relative_to(zoo))] = record
    return found


def test_the_demo_suite_for_three_checkpoints(lab: Lab) -> None:
    write_data(lab.data)
    shorten_lists(lab.data)
    suite = ("--ckpt", CHECKPOINTS, "--suite", "digits", "--only", BENCHMARKS)
    common = (*suite, "--data", str(lab.data), "--workers", "0")
    run(lab, "benchmarks", lab.root / "inline", *common)
    run(lab, "benchmarks", lab.zoo, *common, "--cluster", "slurm", "--cpus-per-task", "1")
    expected = records(lab.root / "inline")
    assert sum("/parts/" not in name for name in expected) == 3 * 5
    assert records(lab.zoo) == expected


def test_a_probe_that_is_requeued_twice_ends_in_the_same_bits(lab: Lab) -> None:
    """Requeued by us at any step, then again by a job of a higher partition."""
    write_data(lab.data)
    protocol = ("--ckpt", "random:resnet18", "--protocol", DIGITS_IMAGENET_LINEAR.name)
    protocol = (*protocol, "--epochs", "3")  # one before each requeue, and one after
    data = ("--data", str(lab.data / "imagenet"), "--workers", "0")
    run(lab, "benchmarks.linear_probe", lab.root / "inline", *protocol, *data)
    command = [sys.executable, "-m", "benchmarks.linear_probe", *protocol, *data, *SAME_BITS]
    slurm = ("--zoo", str(lab.zoo), "--cluster", "slurm", "--cpus-per-task", "1")
    launcher = subprocess.Popen(
        [*command, *slurm],
        cwd=ROOT,
        env=lab.cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lab.wait(lambda: bool(states(lab.zoo)), "a saved epoch")
    (job,) = lab.running()
    lab.cluster.call("scontrol", "requeue", job)
    lab.wait(lambda: job not in lab.running(), "the end of the first start")
    lab.wait(lambda: job in lab.running(), "the second start")
    before = max(path.stat().st_mtime for path in states(lab.zoo))
    lab.wait(lambda: any(path.stat().st_mtime > before for path in states(lab.zoo)), "an epoch")
    lab.cluster.call(
        "sbatch", "-p", "hi", "-N3", "--exclusive", "-o", "/dev/null", "--wrap=sleep 2"
    )
    lab.end(launcher)
    logs = "".join(path.read_text() for path in (lab.zoo / "runs").rglob("*_log.*"))
    assert logs.count("continues at epoch") == 2
    assert records(lab.zoo) == records(lab.root / "inline")


def states(zoo: Path) -> list[Path]:
    """What an interrupted probe continues from."""
    return list(zoo.glob("state/**/*.pt"))


def test_low_shot_on_feature_files(lab: Lab) -> None:
    draws = np.random.default_rng(0)
    for split, name, count in (("trainval", "train", 200), ("test", "test", 60)):
        labels = np.where(draws.random((count, 20)) < 0.3, 1, 0).astype(np.int8)
        lab.data.mkdir(exist_ok=True)
        np.save(lab.data / f"{name}_labels.npy", labels)
        for feature in (4, 5):
            noise = draws.normal(0, 2, (count, 20))
            values = (labels + noise).astype(np.float32)
            np.save(lab.data / f"voc07_{split}_feat{feature}.npy", values)
    folders = ("--features", str(lab.data), "--labels", str(lab.data), "--name", "files")
    flags = (*folders, "--shots", "1,2,4", "--samples", "2")
    run(lab, "benchmarks.low_shot_svm", lab.root / "inline", *flags)
    run(lab, "benchmarks.low_shot_svm", lab.zoo, *flags, "--cluster", "slurm")
    expected = records(lab.root / "inline")
    assert sum("/parts/" not in name for name in expected) == 1
    assert records(lab.zoo) == expected

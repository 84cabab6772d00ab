"""DeepCluster learns: on Fashion-MNIST its features are better than those that it began with.

    python tests/proofs/learn.py --json tests/perf/results/learn.json

Three seeds, two at a time: each pretrains by the normal command (`RECIPE`) on images without
labels, and measures by the normal commands AvgPool and k-NN on a hundred labelled images of each
class, of the trunk and of the random one of the same seed, which is where it began. Exit 1 unless
in the mean over seeds both stand above the random trunk's by 10 points. The k-NN that is judged
has as many neighbours as a class has labels. Ten or twenty neighbours tell less: the nearest of
all are right with random features too, and what is learned shows in those further away.

The images are Debian's package dataset-fashion-mnist. A smaller look: --images 2000 --epochs 2
"""

import argparse
import gzip
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).parents[2]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
ARCH = "test_resnet"  # timm's smallest ResNet: 96 dimensions, on two cores hundreds of images/s
SIDE = 32  # pixels; the images have 28, and a border of two is put around them
LABELLED, VAL = 100, 3000  # labelled images of each class, and images of the test set
K = "100"  # of the k-NN that is judged, as many as a class has labels; others stand beside it
WANTED = 10.0  # points above the random trunk
EPOCHS = 8

# The digits' recipe, with what is other in it.
RECIPE = shlex.split(
    f"--recipe digits_sobel_resnet18-12e --arch {ARCH} --no-sobel --clusters 60 "
    "--train-resize 36 --train-random-crop 36 --train-flip --train-jitter 0.4,0.4,0,0 "
    "--extract-resize 36 --extract-crop 32"
)
KNN = shlex.split("--protocol digits_knn_imagenet --set image.resize=36 --k 10,20,100,200")
AVGPOOL = shlex.split(
    "--protocol digits_linear-4e_in1k "
    "--set test.resize=36 --set train.resize=36 --set train.random_crop=36"
)


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """An array of MNIST's format, (N,) or (N, 28, 28)."""
    path = folder / f"{name}-ubyte.gz"
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        print(
            f"error: {path} is missing: apt-get install dataset-fashion-mnist, or name the folder "
            "of its files with --data",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    shape = np.frombuffer(content, ">i4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def write_images(
    folder: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8], rows: NDArray[np.int64]
) -> None:
    """Some of the images, a folder for each class."""
    for row in rows.tolist():
        path = folder / f"class{labels[row]}" / f"{row:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.pad(images[row], 2)).save(path)


def write_data(data: Path, folder: Path, count: int) -> None:
    """`folder/all`, whose labels serve the curves alone, and `folder/few` to measure on.

    The labelled images are among those that are pretrained on, the validation images never.
    """
    train, labels = (read_idx(data, f"train-{part}") for part in ("images-idx3", "labels-idx1"))
    test, truth = (read_idx(data, f"t10k-{part}") for part in ("images-idx3", "labels-idx1"))
    order = np.random.default_rng(0).permutation(len(labels))
    few = np.concatenate([order[labels[order] == label][:LABELLED] for label in range(10)])
    val = np.random.default_rng(1).permutation(len(truth))[:VAL]
    write_images(folder / "all" / "train", train, labels, order[:count])
    write_images(folder / "all" / "val", test, truth, val[:100])  # nobody looks at them
    write_images(folder / "few" / "train", train, labels, few)
    write_images(folder / "few" / "val", test, truth, val)


class Seed:
    """One seed, from the random trunk to the figures."""

    def __init__(self, scratch: Path, seed: int, epochs: int) -> None:
        self.scratch, self.seed, self.epochs = scratch, seed, epochs
        self.zoo = scratch / f"zoo{seed}"

    def run(self) -> dict[str, Any]:
        """Pretrain and measure."""
        began = time.monotonic()
        self._command(
            "pretrain", "deepcluster", "--name", "learned", "--data", str(self.scratch / "all"),
            "--epochs", str(self.epochs), "--probe-every", "1", "--resume", *RECIPE,
        )  # fmt: skip
        seconds = time.monotonic() - began
        figures = {
            name: self._measure(ckpt)
            for name, ckpt in (("random", f"random:{ARCH}"), ("deepcluster", "learned"))
        }
        lines = (self.zoo / "logs/learned/deepcluster.jsonl").read_text().splitlines()
        curve = ("loss", "nmi_labels", "nmi_previous", "knn_top1")
        rows = [json.loads(line) for line in lines]
        return {
            "seed": self.seed,
            **figures,
            "difference": {
                part: round(figures["deepcluster"][part] - figures["random"][part], 3)
                for part in figures["random"]
            },
            # By epoch; the k-NN is of training images among each other, all of them labelled.
            "curve": {name: [rounded(row[name]) for row in rows] for name in curve},
            "pretraining_s": round(seconds, 1),
        }

    def _measure(self, ckpt: str) -> dict[str, float]:
        data = ["--data", str(self.scratch / "few"), "--own", "fashion", "--ckpt", ckpt]
        knn = self._record("benchmarks.knn", *data, *KNN)
        probe = self._record("benchmarks.linear_probe", *data, *AVGPOOL)
        found = {f"knn_k{k}": one["top1"] for k, one in knn["k"].items()}
        return {"avgpool": probe["heads"]["avgpool"]["top1"], **found}

    def _record(self, module: str, *words: str) -> dict[str, Any]:
        path = self.zoo / "record.json"
        self._command(module, *words, "--json", str(path))
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def _command(self, module: str, *words: str) -> None:
        """One thread each: the last bits do not depend on how many cores there are."""
        given = [sys.executable, "-m", module, *words, "--zoo", str(self.zoo)]
        given += ["--seed", str(self.seed), "--device", "cpu", "--workers", "0", "--threads", "1"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(given, env=environment, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise SystemExit(f"{module} failed: {done.stderr[-2000:]}")


def rounded(value: float | None) -> float | None:
    """Of a curve: four digits, and None where an epoch has no such figure."""
    return None if value is None else round(value, 4)


def summary(seeds: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and population standard deviation over the seeds: of both trunks, and the difference."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for who in ("random", "deepcluster", "difference"):
        for part in seeds[0][who]:
            values = [one[who][part] for one in seeds]
            spread = {"mean": round(mean(values), 3), "std": round(pstdev(values), 3)}
            found.setdefault(who, {})[part] = spread
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEBIAN, metavar="DIR")
    parser.add_argument("--images", type=int, default=10_000, help="to pretrain on")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time, of one core each")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        write_data(args.data, Path(scratch), args.images)
        runs = [Seed(Path(scratch), seed, args.epochs) for seed in range(args.seeds)]
        with ThreadPoolExecutor(args.jobs) as pool:
            seeds = list(pool.map(Seed.run, runs))
    found = {
        "images": args.images,
        "labelled": 10 * LABELLED,
        "val": VAL,
        "epochs": args.epochs,
        "pretraining": RECIPE,
        "knn": KNN,
        "avgpool": AVGPOOL,
        "summary": summary(seeds),
        "seeds": seeds,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    print(json.dumps(found["summary"], indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    short = {
        part: value["mean"]
        for part, value in found["summary"]["difference"].items()
        if part in ("avgpool", f"knn_k{K}") and value["mean"] < WANTED
    }
    if short:
        raise SystemExit(f"above the random trunk by less than {WANTED:g} points: {short}")


if __name__ == "__main__":
    main()

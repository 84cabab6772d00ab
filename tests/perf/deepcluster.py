"""DeepCluster's speed as ratios, each measured side by side in one process.

    python tests/perf/deepcluster.py --json FILE

`whiten`: our whitening of features in a memory map against faiss.PCAMatrix, train and apply, on the
same file; seconds and the peak of anonymous memory above the start. `whole`: the clustering phase
of ImageNet's size, from features on disk to the assignment, once. `step`: the training step, with
images from memory, against the bare forward, backward and update. `extract`: the features of all
images against the bare forward. Each ratio is the median over rounds that alternate.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.datasets.splits import ImageSplit  # noqa: E402
from benchmarks.protocols import ImageTransform  # noqa: E402
from pretrain.deepcluster import extract, train  # noqa: E402
from pretrain.deepcluster.clusters import feature_file  # noqa: E402
from pretrain.deepcluster.clusters.agreement import nmi  # noqa: E402
from pretrain.deepcluster.clusters.assignment import assign  # noqa: E402
from pretrain.deepcluster.clusters.faiss_library import faiss  # noqa: E402
from pretrain.deepcluster.clusters.kmeans import Clustering  # noqa: E402
from pretrain.deepcluster.clusters.whitening import whiten  # noqa: E402
from pretrain.deepcluster.recipes import Recipe  # noqa: E402
from pretrain.deepcluster.settings import Settings  # noqa: E402
from slurm.distributed import World  # noqa: E402

CPU = torch.device("cpu")
MIB = 2**20
PARTS = ("whitening", "training", "whole")


class Peak:
    """The most anonymous memory (bytes) within the block, above that at its start.

    Pages of a memory map that the system can drop at any time are not counted.
    """

    def __enter__(self) -> "Peak":
        self._start = self._most = _anonymous()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self._most = max(self._most, _anonymous())

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._watch.join()
        self.bytes = max(self._most, _anonymous()) - self._start


def _anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and peak MiB."""
    with Peak() as peak:
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
    return seconds, peak.bytes / MIB


def write_features(path: Path, rows: int, width: int) -> None:
    """Features with a spectrum that falls like a network's, written by blocks."""
    rng = np.random.default_rng(0)
    scale = (1 + np.arange(width)) ** -0.5
    mix = np.linalg.qr(rng.normal(size=(width, width)))[0].astype(np.float32)
    feature_file.create(path, rows, width)
    with feature_file.RowWriter(path, 0) as writer:
        for start in range(0, rows, 4096):
            count = min(4096, rows - start)
            block = rng.normal(size=(count, width)) * scale
            writer.write(np.maximum(block.astype(np.float32) @ mix + 0.1, 0))


def whitening(rows: int, width: int, pca: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Ours and faiss's on the same file, alternating."""
    path = folder / "features.npy"
    write_features(path, rows, width)
    features = feature_file.read(path)

    def by_faiss() -> None:
        matrix = faiss.PCAMatrix(width, pca, -0.5)
        plain = np.array(features)  # faiss takes what is in memory
        matrix.train(plain)
        matrix.apply_py(plain)

    works: dict[str, Callable[[], object]] = {
        "ours": lambda: whiten(features, pca, CPU),
        "faiss": by_faiss,
        "bare_product": lambda: bare_products(features, pca),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            taken[name].append(timed(work))
    seconds = {name: [pair[0] for pair in pairs] for name, pairs in taken.items()}
    path.unlink()
    return {
        "rows": rows,
        "width": width,
        "pca": pca,
        "seconds": {
            name: [round(value, 3) for value in values] for name, values in seconds.items()
        },
        "peak_mib": {name: round(max(pair[1] for pair in taken[name])) for name in works},
        "times_as_fast_as_faiss": ratio(seconds["faiss"], seconds["ours"]),
        "times_the_bare_product": ratio(seconds["ours"], seconds["bare_product"]),
    }


def bare_products(features: Any, pca: int) -> None:
    """The products of whitening's blocks alone."""
    total = np.zeros((features.shape[1], features.shape[1]))
    for start in range(0, len(features), 8192):
        block = np.array(features[start : start + 8192])
        total += block.T @ block
        block @ total[:, :pca].astype(np.float32)


def whole(rows: int, width: int, pca: int, clusters: int, folder: Path) -> dict[str, Any]:
    """Whitening beside its bare products, then all of a clustering phase, one k-means iteration.

    And the same once more from the features as fp16.
    """
    path = folder / "features.npy"
    write_features(path, rows, width)
    features = feature_file.read(path)
    bare, _ = timed(lambda: bare_products(features, pca))
    plain, labels = phase(path, pca, clusters)
    half = folder / "half.npy"
    feature_file.create(half, rows, width, "fp16")
    with feature_file.RowWriter(half, 0) as writer:
        for start in range(0, rows, 4096):
            writer.write(features[start : start + 4096])
    path.unlink()
    small, other = phase(half, pca, clusters)
    half.unlink()
    return {
        "rows": rows,
        "width": width,
        "pca": pca,
        "clusters": clusters,
        "bare_product_s": round(bare, 1),
        "times_the_bare_product": round(plain["whitening_s"] / bare, 3),
        **plain,
        "fp16": small | {"nmi_with_fp32": round(nmi(labels, other), 4)},
    }


def phase(path: Path, pca: int, clusters: int) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Seconds and peaks of whitening alone, and of all of it; and the clusters."""
    features = feature_file.read(path)
    whitened, whitening_peak = timed(lambda: whiten(features, pca, CPU))
    found: list[Clustering] = []

    def cluster() -> None:
        found.append(assign(path, clusters=clusters, pca=pca, iterations=1, seed=0))

    seconds, peak = timed(cluster)
    labels = found[0].labels
    return {
        "file_gib": round(path.stat().st_size / 2**30, 2),
        "whitening_s": round(whitened, 1),
        "whitening_peak_mib": round(whitening_peak),
        "clustering_s": round(seconds, 1),
        "clustering_peak_mib": round(peak),
        "clusters_used": len(np.unique(labels)),
    }, labels


def ratio(above: list[float], below: list[float]) -> float:
    """The median of the rounds' ratios."""
    return round(median(a / b for a, b in zip(above, below, strict=True)), 3)


@dataclass(frozen=True)
class InMemory:
    """What `Images` is for a run, without decoding: the same pixels again and again."""

    count: int
    pixels: Tensor  # (B, 3, H, W)

    def batches(
        self,
        transform: int,
        epoch: int,
        rows: Any,
        batch_size: int,
        keys: Any = None,
        mistakes: Any = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        wanted = torch.from_numpy(np.ascontiguousarray(rows if keys is None else keys))
        for ids in wanted.split(batch_size):
            yield self.pixels[: len(ids)], ids


def training(batch: int, side: int, steps: int, rounds: int, folder: Path) -> dict[str, Any]:
    """A run's step and its extraction against the bare network, on images that are in memory."""
    recipe = Recipe(
        name="perf",
        arch="resnet18",
        train=ImageTransform(crop=side),
        extract=ImageTransform(crop=side),
        epochs=1,
        batch_size=batch,
        learning_rate=0.01,
        clusters=100,
        pca=64,
    )
    count = batch * steps
    paths = tuple(f"{number}.png" for number in range(count))
    images = ImageSplit(folder, paths, np.zeros(count, np.int64), ())
    pixels = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))

    settings = Settings(
        name="perf",
        key="perf",
        state=folder / "state.pt",
        log=folder / "log.jsonl",
        identity="{}",
        restart="",
        seed=0,
        workers=0,
        precision="fp32",
        fast=False,
        save_seconds=1e9,
    )
    run = train.Run(recipe, images, settings, World(), CPU)
    run.loaded = InMemory(count, pixels)  # type: ignore[assignment]
    run.labels = np.arange(count) % recipe.clusters
    run.clustered_at = 0
    run.figures = dict.fromkeys(("nmi_previous", "nmi_labels", "smallest", "largest", "empty"), 0)
    run.figures["median"] = 0
    run.save = lambda: None  # type: ignore[method-assign]  # once an epoch, and no part of a step
    bare = train.Run(recipe, images, settings, World(), CPU)
    targets = torch.arange(batch) % recipe.clusters

    def bare_steps() -> None:
        bare.net.train()
        for _ in range(steps):
            loss = F.cross_entropy(bare.net(pixels), targets)
            bare.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            bare.optimizer.step()

    def bare_forward() -> None:
        bare.net.eval()
        with torch.inference_mode():
            for _ in range(steps):
                bare.net.features(pixels)

    def features() -> None:
        extract.extract(
            run.net,
            run.loaded,
            settings,
            batch_size=batch,
            precision="fp32",
            world=World(),
            device=CPU,
        ).unlink()

    works = {
        "step": run.train_epoch,
        "bare_step": bare_steps,
        "extract": features,
        "bare_forward": bare_forward,
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            taken = timed(work)[0]  # type: ignore[arg-type]
            if number:  # the first round only warms up
                seconds[name].append(taken)
        run.epoch = 0
        run.history = {}
    return {
        "images": count,
        "batch": batch,
        "side": side,
        "seconds": {
            name: [round(value, 3) for value in values] for name, values in seconds.items()
        },
        "step_of_bare": ratio(seconds["bare_step"], seconds["step"]),
        "extraction_of_bare": ratio(seconds["bare_forward"], seconds["extract"]),
    }


def machine() -> str:
    """The processor and the number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "CPU")
    return f"{model} ({len(os.sched_getaffinity(0))} cores)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--pca", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    parser.add_argument("--whole-rows", type=int, default=1_281_167, help="ImageNet's images")
    parser.add_argument("--clusters", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="scratch space (default: the system's)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    faiss.omp_set_num_threads(args.threads)
    found: dict[str, Any] = {"machine": machine(), "threads": args.threads}
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        folder = Path(scratch)
        works: dict[str, Callable[[], dict[str, Any]]] = {
            "whitening": lambda: whitening(args.rows, args.width, args.pca, args.rounds, folder),
            "training": lambda: training(args.batch, args.side, args.steps, args.rounds, folder),
            "whole": lambda: whole(args.whole_rows, args.width, args.pca, args.clusters, folder),
        }
        for name in args.only or PARTS:
            found[name] = works[name]()
            print(json.dumps({name: found[name]}, indent=1), flush=True)
            if args.json:  # each part at once, since the whole takes long
                known = json.loads(args.json.read_text()) if args.json.exists() else {}
                args.json.write_text(json.dumps(known | found, indent=1) + "\n")


if __name__ == "__main__":
    main()

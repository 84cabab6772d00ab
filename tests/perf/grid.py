"""A training step of a probe with a grid of learning rates, against the step of the probe alone.

    python tests/perf/grid.py --json tests/perf/results/grid.json

Both sides run in this process by turns, on the same images and threads: forward pass of the trunk,
pooling, and the step of all heads; decoding is left out, which would be the same for both. The
goal: ten learning rates for five heads at 1,000 classes cost at most 1.7 times the plain step. At
256 images a round takes a CPU minutes; for a look: --arch resnet18 --batch 32 --side 96 --rounds 2
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # before this folder, whose slurm.py is not the package

from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR  # noqa: E402
from benchmarks.checkpoints.fit import checkpoint_of  # noqa: E402
from benchmarks.checkpoints.zoo import resolve  # noqa: E402
from benchmarks.devices import begin_peak, resolve_device, took  # noqa: E402
from benchmarks.probes.frozen import FrozenTrunk  # noqa: E402
from benchmarks.probes.training import Job, ProbeRun  # noqa: E402
from benchmarks.protocols import Point  # noqa: E402
from benchmarks.trunks import Trunk  # noqa: E402
from slurm.distributed import World  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device = resolve_device(args.device)
    begin_peak(device)
    torch.use_deterministic_algorithms(True, warn_only=True)  # as the real run
    card = resolve(ROOT, f"random:{args.arch}", 0)
    frozen = FrozenTrunk(
        Trunk(ROOT, f"random:{args.arch}", checkpoint_of(card), mean=card.mean, std=card.std),
        device,
    )
    transforms = {name: replace(getattr(IMAGENET_LINEAR, name), crop=args.side, resize=args.side)
                  for name in ("train", "test")}  # fmt: skip
    protocol = replace(IMAGENET_LINEAR, batch_size=args.batch, **transforms)
    # The protocol's own rate is the first of them; its heads are not trained twice.
    points = tuple(Point(0.01 * 1.5**number, 1e-4) for number in range(1, args.rates))
    runs = {
        name: ProbeRun(Job(frozen.trunk, protocol, Path("unused"), name, of), frozen, args.classes,
                       World())
        for name, of in (("plain", ()), ("grid", points))
    }  # fmt: skip
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(args.batch, 3, args.side, args.side, generator=draws).to(device)
    labels = torch.randint(args.classes, (args.batch,), generator=draws).to(device)

    def step(run: ProbeRun) -> None:
        for piece, truth in zip(images.split(run.piece), labels.split(run.piece)):
            run.take(frozen.maps(piece), truth)

    seconds: dict[str, list[float]] = {name: [] for name in ("forward", *runs)}
    for run in runs.values():
        run.begin_epoch()
        step(run)  # momentum comes into being
    for _ in range(args.rounds):
        seconds["forward"].append(timed(device, lambda: frozen.maps(images[: runs["plain"].piece])))
        for name, run in runs.items():
            seconds[name].append(timed(device, lambda run=run: step(run)))  # type: ignore[misc]
    found: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        **{name: getattr(args, name) for name in ("arch", "batch", "side", "classes", "rates")},
        "parameters": sum(one.numel() for one in runs["plain"].heads.parameters()),
        **{f"{name}_s": round(median(values), 4) for name, values in seconds.items()},
        "ratio": round(median(seconds["grid"]) / median(seconds["plain"]), 3),
        "ratios": [round(b / a, 3) for a, b in zip(seconds["plain"], seconds["grid"])],
        **took(device),
    }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds until the device is done."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

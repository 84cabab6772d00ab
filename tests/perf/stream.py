"""What one stream of images costs beside the loaders and runs of commit 5aee93e, in one run.

python tests/perf/stream.py                  # all that follows; 40 minutes on 2 quiet cores
python tests/perf/stream.py --only loader    # or: together, memory, killed
python tests/perf/stream.py --only device    # on a machine with a GPU; two minutes

loader: CPU time an image of a worker process, JPEGs of 500 x 375, handing over included; in an
    epoch of 8,192 images, and in one of 1,024, in which the start of the worker weighs.
together: 4 checkpoints x 2 protocols at 64 pixels against eight runs, and the JPEGs decoded.
memory: of workers that look up 2.4 million names, and over epochs.
killed: groups of four probes, killed 20 times at random in all, against one left alone.
device: one multi-head probe, and four ResNet-50s by both protocols, an epoch each at full size.
"""

import argparse
import gc
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
BEFORE = "5aee93e"
PARTS = ("loader", "together", "memory", "killed")
DEVICE = "device"  # a part that is only measured when asked for
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHECKPOINTS = ("test_resnet", "test_efficientnet", "test_byobnet", "test_convnext")
CLASSES = 8
BATCH = 256
TIMES = {"": 8, "_short": 1}  # that an epoch of the loader reads each image
GROUP_EPOCHS = 16  # of the group that is killed: longer than a start takes
NAMES = 2_448_873  # of Places205


def write_images(folder: Path, count: int) -> None:
    """JPEGs of 500 x 375 at quality 90, as ImageNet's are on average, in its layout."""
    import numpy as np
    from PIL import Image

    for split, images in (("train", count), ("val", max(CLASSES, count // 8))):
        for number in range(images):
            draws = np.random.default_rng([number, split == "val"])
            cells = draws.integers(0, 256, (25, 33, 3), dtype=np.uint8)
            smooth = Image.fromarray(cells).resize((500, 375), Image.Resampling.BICUBIC)
            noisy = np.asarray(smooth) + draws.normal(0, 8, (375, 500, 3))
            path = folder / split / f"class{number % CLASSES}" / f"{number:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def linear_protocols() -> tuple[Any, Any]:
    """ImageNet's multi-head and AvgPool protocols."""
    try:
        from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
        from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
    except ImportError:  # the commit before
        from benchmarks.protocols import (  # type: ignore[attr-defined, no-redef]
            IMAGENET_AVGPOOL,
            IMAGENET_LINEAR,
        )
    return IMAGENET_LINEAR, IMAGENET_AVGPOOL


def specs() -> dict[str, Any]:
    """The transforms whose loading is timed."""
    from pretrain.deepcluster.recipes import SOBEL_RESNET50

    return {"multi_head": linear_protocols()[0].train, "deepcluster": SOBEL_RESNET50.train}


def time_loader(folder: Path) -> dict[str, float]:
    """CPU milliseconds an image of a worker process, from its fork to its last batch."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    paths = tuple(str(path.relative_to(folder)) for path in sorted(folder.glob("train/*/*.jpg")))
    found = {}
    for name, load in _loaders(folder, paths).items():
        for length, times in TIMES.items():
            rows = np.tile(np.arange(len(paths)), times)
            start = _ended_seconds()
            load(rows, 0)
            gc.collect()  # the loader, with which its worker ends
            found[name + length] = 1000 * (_ended_seconds() - start) / len(rows)
    return found


def _ended_seconds() -> float:
    """CPU time of the processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


Load = Callable[[Any, int], None]  # some rows in an epoch, by a worker


def _loaders(folder: Path, paths: tuple[str, ...]) -> dict[str, Load]:
    """By protocol what this checkout does; ours with `--decode fast` as well."""
    try:
        from benchmarks.images.names import Names
    except ImportError:  # the commit before
        return {name: _before(folder, paths, spec) for name, spec in specs().items()}
    names = Names(paths)
    exact = {name: _ours(folder, names, spec) for name, spec in specs().items()}
    fast = {f"{name}_fast": _ours(folder, names, spec, True) for name, spec in specs().items()}
    return exact | fast


def _before(folder: Path, paths: tuple[str, ...], spec: Any) -> Load:
    from benchmarks.images import build_transform, load_batches  # type: ignore[attr-defined]

    split, transform = SimpleNamespace(root=folder, paths=paths), build_transform(spec, MEAN, STD)

    def load(rows: Any, epoch: int) -> None:
        many = {"batch_size": BATCH, "seed": 0, "epoch": epoch, "workers": 1}
        for _ in load_batches(split, transform, rows, **many):
            pass

    return load


def _ours(folder: Path, names: Any, spec: Any, fast: bool = False) -> Load:
    import torch

    from benchmarks.images.batches import Loader, Source
    from benchmarks.images.requests import requests_of
    from benchmarks.images.transforms import build_transform

    transform = build_transform(spec, MEAN, STD, fast=fast)
    source = Source(str(folder), names, transform.geometry, (transform.colour,), 0)

    def load(rows: Any, epoch: int) -> None:
        loader = Loader([source], 1, torch.device("cpu"))
        for _ in loader.batches(requests_of(0, epoch, rows, BATCH)):
            pass

    return load


def new_trunk(ckpt: str, zoo: Path, workers: int, device: str, **more: Any) -> Any:
    from benchmarks.results import Checkpoint
    from benchmarks.trunks import Trunk

    try:
        from benchmarks.checkpoints.zoo import resolve
    except ImportError:
        from benchmarks.registry import resolve  # type: ignore[attr-defined, no-redef]
    card = resolve(zoo, ckpt, 0)
    return Trunk(
        zoo=zoo,
        ckpt=ckpt,
        checkpoint=Checkpoint(card.name, card.arch, card.weights, card.sobel),
        device=device,
        workers=workers,
        mean=card.mean,
        std=card.std,
        **more,
    )


def new_item(trunk: Any, folder: Path, protocol: Any) -> Any:
    try:
        from benchmarks.probes.item import probe_item
    except ImportError:
        from benchmarks.linear_probe import probe_item  # type: ignore[attr-defined, no-redef]
    return probe_item(trunk, folder, protocol)


def probe_items(folder: Path, zoo: Path, workers: int, epochs: int) -> list[Any]:
    """Four checkpoints by two protocols at 64 pixels."""

    def small(protocol: Any) -> Any:
        return replace(
            protocol,
            train=replace(protocol.train, crop=64),
            test=replace(protocol.test, crop=64, resize=72),
            epochs=epochs,
            milestones=(1,),
            batch_size=64,
            pooled_size=1024,
        )

    trunks = [new_trunk(f"random:{arch}", zoo, workers, "cpu") for arch in CHECKPOINTS]
    return [
        new_item(trunk, folder, small(protocol))
        for trunk in trunks
        for protocol in linear_protocols()
    ]


def on_device(folder: Path, zoo: Path, device: str, decode: str, which: str) -> dict[str, float]:
    """Seconds of an epoch of `one` multi-head probe, or of `all` of ResNet-50s by both protocols.

    `zoo` holds the ResNet-50s. On a CPU a smaller network stands in, to try this script.
    """
    import torch

    try:
        from benchmarks.probes.groups import together
    except ImportError:
        together = None  # type: ignore[assignment]
    more = {"decode": "fast"} if decode == "fast" else {}
    names = [path.name for path in sorted((zoo / "checkpoints").iterdir())]
    workers = max(1, (os.cpu_count() or 2) - 1)
    protocols = [replace(protocol, epochs=1, milestones=()) for protocol in linear_protocols()]
    items = [
        new_item(new_trunk(name, zoo, workers, device, **more), folder, protocol)
        for name in (names if which == "all" else names[:1])
        for protocol in (protocols if which == "all" else protocols[:1])
    ]
    if device == "cuda":
        torch.zeros(1, device="cuda").item()  # the context is no part of a probe
    work = items if together is None else together(items, None)
    start = time.monotonic()
    for item in work:
        item.run()
    assert all(item.done() for item in items)
    return {"seconds": time.monotonic() - start, "runs": len(work)}


def run_probes(folder: Path, zoo: Path, workers: int, epochs: int) -> dict[str, float]:
    """Seconds of all eight, and how many JPEGs were decoded."""
    import benchmarks.images as images

    try:
        from benchmarks.images import batches as images  # type: ignore[no-redef]
        from benchmarks.probes.groups import together
    except ImportError:
        together = None  # type: ignore[assignment]
    decoded = multiprocessing.Value("q", 0)
    name = "Encoded" if hasattr(images, "Encoded") else "open_image"
    decode = getattr(images, name)

    def counted(path: Path) -> object:
        with decoded.get_lock():
            decoded.value += 1
        return decode(path)

    setattr(images, name, counted)
    items = probe_items(folder, zoo, workers, epochs)
    work = items if together is None else together(items, None)
    start = time.monotonic()
    for item in work:
        item.run()
    assert all(item.done() for item in items)
    return {"seconds": time.monotonic() - start, "decoded": decoded.value, "runs": len(work)}


def side(checkout: Path, words: list[str]) -> dict[str, float]:
    """What this script says, run on a checkout."""
    threads = "1" if words[0] in ("loader", "memory", "group") else str(os.cpu_count() or 1)
    environment = {**os.environ, "PYTHONPATH": paths_of(checkout), "OMP_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-P", __file__, "--side", *words],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        cwd=checkout,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_loader(before: Path, data: Path, repeats: int) -> dict[str, Any]:
    """Medians over rounds in which the two sides follow one another; a machine's pace changes."""
    rounds = [
        {name: side(where, ["loader", str(data)]) for name, where in
         (("before", before), ("ours", ROOT))}
        for _ in range(repeats)
    ]  # fmt: skip
    found: dict[str, Any] = {"loader_rounds": repeats}
    for name, length in product(("multi_head", "deepcluster"), TIMES):
        then = [one["before"][name + length] for one in rounds]
        found[f"{name}{length}_before_ms"] = median(then)
        for kind in (name + length, f"{name}_fast{length}"):
            now = [one["ours"][kind] for one in rounds]
            ratios = sorted(ours / before for ours, before in zip(now, then))
            found[f"{kind}_ms"], found[f"{kind}_ratio"] = median(now), median(ratios)
            found[f"{kind}_ratios"] = [round(ratio, 3) for ratio in ratios]
    return found


def measure_together(before: Path, data: Path, epochs: int) -> dict[str, Any]:
    images = len(list(data.glob("*/*/*.jpg")))
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, checkout in (("before", before), ("ours", ROOT)):
            zoo = str(Path(scratch) / name)
            found[name] = side(checkout, ["together", str(data), zoo, "1", str(epochs)])
    return {
        "together_s": found["ours"]["seconds"],
        "eight_runs_before_s": found["before"]["seconds"],
        "together_times_as_fast": found["before"]["seconds"] / found["ours"]["seconds"],
        "decoded_an_image_and_epoch": found["ours"]["decoded"] / images / epochs,
        "decoded_before": found["before"]["decoded"] / images / epochs,
    }


def measure_memory(data: Path) -> dict[str, Any]:
    """Private megabytes of two workers after 600,000 look-ups, and of loading over epochs."""
    return side(ROOT, ["memory", str(data)])


def memory(folder: Path) -> dict[str, float]:
    import numpy as np
    import torch

    from benchmarks.images.batches import Loader, Source
    from benchmarks.images.names import Names
    from benchmarks.images.requests import Request
    from benchmarks.images.transforms import build_transform

    names = Names([f"a/abbey/gsun_{number:032d}.jpg" for number in range(NAMES)])
    grown = []
    for part in range(2):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            first = private_mb()
            for row in np.random.default_rng(part).permutation(NAMES)[:300_000].tolist():
                assert names[row]
            os.write(writer, str(private_mb() - first).encode())
            os._exit(0)
        os.waitpid(child, 0)
        grown.append(float(os.read(reader, 100)))
    paths = [str(path.relative_to(folder)) for path in sorted(folder.glob("train/*/*.jpg"))]
    transform = build_transform(specs()["multi_head"], MEAN, STD)
    source = Source(str(folder), Names(paths), transform.geometry, (transform.colour,), 0)
    loader, rows, held = Loader([source], 1, torch.device("cpu")), np.arange(16), []
    for epoch in range(12):
        for _ in loader.batches([Request(0, epoch, rows, rows)] * 4):
            pass
        held.append(private_mb())
    return {
        "names_mb": (names.content.nbytes + names.bounds.nbytes) / 2**20,
        "worker_grows_mb": max(grown),
        "epochs_2_to_12_grow_mb": held[-1] - held[1],
    }


def private_mb() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def measure_killed(data: Path, kills: int) -> dict[str, Any]:
    """Records of groups that were killed again and again against those of one left alone.

    One that reaches its end between two kills is compared, and the next begins in a new zoo.
    """
    draws = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        zoo = Path(scratch) / "whole"
        seconds = side(ROOT, ["group", str(data), str(zoo), "0", str(GROUP_EPOCHS)])["seconds"]
        expected = _heads(zoo)
        done, ends, same, at_its_end = 0, 0, len(expected) > 0, False
        while done < kills or not at_its_end:
            zoo = Path(scratch) / f"killed{ends}"
            words = ["--side", "group", str(data), str(zoo), "0", str(GROUP_EPOCHS)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(
                [sys.executable, "-P", __file__, *words],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if done < kills:
                time.sleep(draws.uniform(0.5, 8 + seconds / 4))
                process.send_signal(signal.SIGKILL)
            at_its_end = process.wait() == 0
            if at_its_end:
                ends += 1
                same = same and _heads(zoo) == expected
            elif process.returncode == -signal.SIGKILL:
                done += 1
            else:
                raise SystemExit(f"a group of probes ended with {process.returncode}")
    return {
        "killed": done,
        "killed_groups": ends,
        "killed_records": len(expected),
        "killed_same": same,
    }


def _heads(zoo: Path) -> dict[str, Any]:
    """The figures of all records."""
    return {
        str(path.relative_to(zoo)): json.loads(path.read_text())["heads"]
        for path in zoo.rglob("results/**/*.json")
    }


def group(folder: Path, zoo: Path, workers: int, epochs: int) -> dict[str, float]:
    """Four probes in one stream that saves after every step."""
    from benchmarks.probes import stream
    from benchmarks.probes.groups import together

    stream.SAVE_SECONDS = 0.0
    start = time.monotonic()
    for item in together(probe_items(folder, zoo, workers, epochs)[:4], None):
        if not item.done():
            item.run()
    return {"seconds": time.monotonic() - start}


def on_this_side(words: list[str]) -> dict[str, float]:
    name, data, *rest = words
    if name == "loader":
        return time_loader(Path(data))
    if name == "memory":
        return memory(Path(data))
    if name == "device":
        return on_device(Path(data), Path(rest[0]), *rest[1:])
    work = run_probes if name == "together" else group
    return work(Path(data), Path(rest[0]), int(rest[1]), int(rest[2]))


def check_out(folder: Path) -> Path:
    folder.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", BEFORE], stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def measure_device(before: Path, data: Path, device: str) -> dict[str, Any]:
    """Images a second, each image counted once for each probe that it was shown to."""
    images, found = len(list(data.glob("train/*/*.jpg"))), {}
    arch = "resnet50" if device == "cuda" else "resnet18"
    with tempfile.TemporaryDirectory() as scratch:
        zoos = Path(scratch)
        register(before, zoos / "plain", arch)
        for which, probes in (("one", 1), ("all", 8)):
            for name, checkout in (("before", before), ("ours", ROOT), ("fast", ROOT)):
                if (which, name) == ("all", "fast"):
                    continue
                zoo = zoos / f"{which}-{name}"
                shutil.copytree(zoos / "plain", zoo)
                decode = "fast" if name == "fast" else "exact"
                words = ["device", str(data), str(zoo), device, decode, which]
                seconds = side(checkout, words)["seconds"]
                found[f"{which}_{name}_images_s"] = images * probes / seconds
    rate = found.__getitem__
    return found | {
        "one_probe_times": rate("one_ours_images_s") / rate("one_before_images_s"),
        "one_probe_fast_times": rate("one_fast_images_s") / rate("one_before_images_s"),
        "four_trunks_times": rate("all_ours_images_s") / rate("all_before_images_s"),
    }


def register(checkout: Path, zoo: Path, arch: str) -> None:
    """Four checkpoints of one architecture and different weights."""
    import torch
    import torchvision

    adding = []
    for seed in range(4):
        torch.manual_seed(seed)
        weights = zoo.parent / f"{seed}.pth"
        torch.save(getattr(torchvision.models, arch)().state_dict(), weights)
        words = ["add", str(weights), "--name", f"trunk{seed}", "--arch", arch, "--zoo", str(zoo)]
        command = [sys.executable, "-m", "benchmarks.registry", *words]
        environment = {**os.environ, "PYTHONPATH": paths_of(checkout)}
        adding.append(
            subprocess.Popen(command, env=environment, cwd=checkout, stdout=subprocess.DEVNULL)
        )
    assert all(process.wait() == 0 for process in adding)


def link_images(folder: Path, times: int) -> None:
    """Each training image under `times` names."""
    for path in sorted(folder.glob("train/*/*.jpg")):
        for number in range(1, times):
            os.link(path, path.with_stem(f"{path.stem}-{number}"))


def paths_of(checkout: Path) -> str:
    """Where Python finds a checkout's packages first, and what it finds anyway."""
    return os.pathsep.join([str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])])


def measure(args: argparse.Namespace, scratch: Path) -> Iterator[dict[str, Any]]:
    data, few = scratch / "imagenet", scratch / "few"
    before = args.before or check_out(scratch / "before")
    write_images(data, args.images)
    yield {"before": BEFORE, "images": args.images, "load": os.getloadavg()[0]}
    parts = args.only or PARTS
    if "loader" in parts:
        yield measure_loader(before, data, args.repeats)
    if "together" in parts:
        yield measure_together(before, data, args.epochs)
    if "memory" in parts:
        yield measure_memory(data)
    if "killed" in parts:
        write_images(few, 64)
        yield measure_killed(few, args.kills)
    if DEVICE in parts:
        link_images(data, args.links)
        yield measure_device(before, data, args.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=(*PARTS, DEVICE), action="append", help="may be repeated")
    parser.add_argument("--images", type=int, default=1024, help="of training (default: 1024)")
    parser.add_argument("--epochs", type=int, default=2, help="of the eight probes (default: 2)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of the loader (default: 5)")
    parser.add_argument("--kills", type=int, default=20, help="(default: 20)")
    parser.add_argument("--before", type=Path, help=f"a checkout of {BEFORE}, where git has none")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--links", type=int, default=8, help="names an image has in that part")
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(on_this_side(args.side)))
        return
    found: dict[str, Any] = {}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        for part in measure(args, Path(scratch)):
            found |= part
            for name, value in part.items():
                shown = f"{value:.4g}" if isinstance(value, float) else value
                print(f"{name:>28}  {shown}", flush=True)
            if args.json:  # each part at once, since the whole takes long
                args.json.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

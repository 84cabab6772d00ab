"""The speeds of a machine with a GPU, each beside what bounds it."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace

from tests.gpu.machine import Figures, Machine, rate


def step_speed(machine: Machine) -> Iterator[Figures]:
    """The multi-head step with its batch in memory, beside the bare forward pass."""
    import torch

    from benchmarks.backbones.backbone import build_backbone
    from benchmarks.checkpoints.zoo import resolve
    from benchmarks.images.colour import Colour, Draws
    from benchmarks.probes.frozen import FrozenTrunk
    from benchmarks.probes.training import Job, ProbeRun
    from benchmarks.results import Checkpoint
    from benchmarks.trunks import Trunk
    from slurm.distributed import World
    from tests.perf.stream import linear_protocols

    multi_head = linear_protocols()[0]
    device = torch.device(machine.device)
    bare = build_backbone(machine.arch, sobel=False).eval().to(device)
    bare = bare.to(memory_format=torch.channels_last)
    shape = (machine.batch, 3, machine.side, machine.side)
    images = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward() -> None:
        with torch.autocast(machine.device):
            bare(images)

    alone = rate(machine.batch, forward, machine.device)
    yield {"bare_forward_images_s": alone}
    card = resolve(machine.scratch, f"random:{machine.arch}", 0)
    trunk = Trunk(
        machine.scratch,
        f"random:{machine.arch}",
        Checkpoint(card.name, card.arch, card.weights, card.sobel),
        device=machine.device,
        precision="amp",
        mean=card.mean,
        std=card.std,
    )
    test = replace(multi_head.test, crop=machine.side)
    protocol = replace(multi_head, test=test, batch_size=machine.batch)
    frozen = FrozenTrunk(trunk, device)
    run = ProbeRun(Job(trunk, protocol, machine.scratch / "no", "step"), frozen, 1000, World())
    colour, draws = Colour.of(protocol.train), Draws.none(machine.batch)
    for row in range(machine.batch):
        colour.draw(draws, row)
    pixels = torch.randint(0, 256, (shape[0], shape[2], shape[3], 3), dtype=torch.uint8)
    pixels, labels = pixels.to(device), torch.randint(0, 1000, shape[:1], device=device)
    run.begin_epoch()

    def step() -> None:
        shown = colour.apply(pixels, draws, [frozen.normalise])[0]
        run.take(frozen.maps(shown), labels)

    ours = rate(machine.batch, step, machine.device)
    yield {"step_images_s": ours, "step_of_bare_forward": ours / alone}
    shown = colour.apply(pixels, draws, [frozen.normalise])[0]
    maps = frozen.maps(shown)
    features = run.features(maps)
    parts = {
        "colours": lambda: colour.apply(pixels, draws, [frozen.normalise]),
        "colours_in_steps": lambda: colour._by_steps(pixels, draws, [frozen.normalise]),
        "trunk": lambda: frozen.maps(shown),
        "pooling": lambda: run.features(maps),
        "heads": lambda: run._train_step(features, labels),
    }
    for name, work in parts.items():
        yield {f"{name}_ms": 1000 / rate(1, work, machine.device, seconds=1.0)}


def pretraining_speed(machine: Machine) -> Iterator[Figures]:
    """DeepCluster's step under AMP, with its batch in memory: plain and with --fast."""
    if not machine.gpu:
        return
    import numpy as np
    import torch

    from benchmarks.datasets.splits import ImageSplit
    from pretrain.deepcluster.recipes import SOBEL_RESNET50
    from pretrain.deepcluster.settings import Settings
    from pretrain.deepcluster.train import Run
    from slurm.distributed import World

    images = ImageSplit(machine.scratch, ("a",) * 512, np.zeros(512, dtype=np.int64), ())
    pixels = torch.randn(256, 3, 224, 224, device="cuda")
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 10_000, (256,), device="cuda")
    for fast in (False, True):
        state = machine.scratch / "no"
        settings = Settings("s", "s", state, state, "", "", 0, 0, "amp", fast, 300.0)
        run = Run(SOBEL_RESNET50, images, settings, World(), torch.device("cuda"))
        run.trained.train()
        speed = rate(256, lambda run=run: run._train_step(pixels, targets), "cuda")  # type: ignore[misc]
        yield {f"step_{'fast' if fast else 'plain'}_images_s": speed}


def loading_speed(machine: Machine) -> Iterator[Figures]:
    """The loader's images a second with all cores but one."""
    import numpy as np
    import torch

    from benchmarks.images.batches import Loader, Source
    from benchmarks.images.names import Names
    from benchmarks.images.requests import requests_of
    from benchmarks.images.transforms import build_transform
    from tests.perf.stream import MEAN, STD, linear_protocols, write_images

    folder, count = machine.scratch / "jpegs", 512 if machine.gpu else 32
    write_images(folder, count)
    paths = [str(path.relative_to(folder)) for path in sorted(folder.glob("train/*/*.jpg"))]
    for name, protocol in zip(("multi_head", "avgpool"), linear_protocols()):
        transform = build_transform(protocol.train, MEAN, STD)
        source = Source(str(folder), Names(paths), transform.geometry, (transform.colour,), 0)
        workers = max(1, (os.cpu_count() or 2) - 1)
        loader = Loader([source], workers, torch.device(machine.device))
        rows = np.tile(np.arange(count), 24 if machine.gpu else 2)
        for requests in (requests_of(0, 0, rows[: 64 * workers], 16), requests_of(0, 0, rows, 64)):
            start = time.monotonic()
            for decoded in loader.batches(requests):
                decoded.pixels.to(machine.device, non_blocking=True)
        yield {f"{name}_images_s": len(rows) / (time.monotonic() - start), "workers": workers}


def svm_speed(machine: Machine) -> Iterator[Figures]:
    """Whole SVM commands on features of VOC07's size, on the device and on the CPU alone."""
    from tests.perf import svm

    shots: tuple[str, ...] = ()
    if not machine.gpu:
        svm.TRAINVAL, svm.TEST, svm.DIMENSIONS, shots = 900, 300, 256, ("--shots", "1,2,4")
    folder = machine.scratch / "voc"
    folder.mkdir()
    svm.generate(folder, svm.SPECTRA["slow"])
    for name, module, more in (("full", "voc_svm", ()), ("low_shot", "low_shot_svm", shots)):
        for device in ("cpu", "auto"):
            words = ("--layers", "feature5", "--device", device, *more)
            seconds, _, _ = svm.command(f"benchmarks.{module}", folder, *words)
            yield {f"{name}_{device}_s": seconds}


def clustering_speed(machine: Machine) -> Iterator[Figures]:
    """The clustering of features as many and as wide as a ResNet-50's of ImageNet, from a file."""
    import numpy as np
    import torch

    from pretrain.deepcluster.clusters import feature_file
    from pretrain.deepcluster.clusters.assignment import normalise
    from pretrain.deepcluster.clusters.kmeans import kmeans
    from pretrain.deepcluster.clusters.whitening import whiten

    rows, width, pca, clusters = (
        (1_281_167, 2048, 256, 10_000) if machine.gpu else (2000, 64, 8, 20)
    )
    path, device = machine.scratch / "features.npy", torch.device(machine.device)
    scale = (1 + torch.arange(width, device=device)) ** -0.5
    mix = torch.linalg.qr(torch.randn(width, width, device=device))[0]
    feature_file.create(path, rows, width)
    start = time.monotonic()
    with feature_file.RowWriter(path, 0) as writer:
        for first in range(0, rows, 8192):
            block = torch.randn(min(8192, rows - first), width, device=device) * scale
            writer.write((block @ mix + 0.1).relu().cpu().numpy())
    yield {"write_s": time.monotonic() - start}
    start = time.monotonic()
    points = whiten(feature_file.read(path), pca, device)
    yield {"whiten_s": time.monotonic() - start}
    sample = points[:: max(1, rows // 100_000)].astype(np.float64)
    apart = np.abs(np.cov(sample.T) - np.eye(pca)).max()
    yield {"sample_covariance_from_identity": float(apart)}
    start = time.monotonic()
    normalise(points)
    kmeans(points, clusters, iterations=20, seed=0)
    yield {"normalise_and_kmeans_s": time.monotonic() - start}
    path.unlink()

"""A linear probe, or several that share a stream, for some seconds each: by the real stream."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.datasets.loading import load_dataset
from benchmarks.devices import resolve_device
from benchmarks.images.batches import Decoded, Loader
from benchmarks.images.requests import Request, requests_of
from benchmarks.probes.item import Probe
from benchmarks.probes.optimization import evaluated_epochs
from benchmarks.probes.stream import DECODED, TRAIN, VAL, Stream
from benchmarks.probes.together import by_trunk, is_full, set_up
from benchmarks.probes.training import Job, ProbeRun, order_of
from benchmarks.rehearsal.report import GIB, Row, Speeds, evaluation_speed
from benchmarks.rehearsal.watch import CPU_PIECE, Enough, Watch, begin_item, gpu_gib, host_gib
from slurm.distributed import World
from slurm.errors import UserError

# Shares of the time that an item is measured for.
LOADER, TEST_LOADER, TRUNK, BOTH = 0.25, 0.1, 0.25, 0.4


class _Kept(Loader):
    """Gives one batch again and again, as fast as it is asked for."""

    def __init__(self, batch: Decoded) -> None:
        self.batch = batch

    def batches(
        self, requests: Sequence[Request], mistakes: list[UserError] | None = None
    ) -> Iterator[Decoded]:
        """As many images as each request wants; none wants more than the batch has."""
        pixels, draws = self.batch
        for count in (len(request.rows) for request in requests):
            yield Decoded(pixels[:count], tuple(one.rows(0, count) for one in draws))


def probe_row(parts: Sequence[Probe], *, limited: bool, seconds: float, folder: Path) -> Row:
    """Measure `parts`, which read one stream, as one item; state files go to `folder`."""
    first = parts[0]
    device = resolve_device(first.trunk.device)
    torch.use_deterministic_algorithms(True, warn_only=True)  # as the real run
    begin_item(device)
    dataset = load_dataset(first.protocol.dataset, first.data)
    world = World()
    jobs = by_trunk(
        [
            Job(part.trunk, part.protocol, folder / f"{number}.pt", part.key, part.points)
            for number, part in enumerate(parts)
        ]
    )
    runs: list[ProbeRun] = []
    taken = 0
    while taken < len(jobs) and not (taken and limited and is_full(device)):
        runs += set_up(jobs[taken], dataset, world, device)
        taken += 1
    passes = -(-len(jobs) // taken)
    real_piece = max(run.piece for run in runs)
    if device.type == "cpu":  # a piece can take it a minute
        for run in runs:
            run.piece = next(count for count in range(CPU_PIECE, 0, -1) if run.size % count == 0)
    piece = max(run.piece for run in runs)
    stream = Stream(runs, dataset, first.key, world, lambda run: None)
    train, val = (len(stream.splits[source].paths) for source in (TRAIN, VAL))

    kept, loader = _loader_alone(stream, TRAIN, seconds * LOADER)
    _, test_loader = _loader_alone(stream, VAL, seconds * TEST_LOADER)
    real, stream.loader = stream.loader, _Kept(kept)
    idle = host_gib()
    trunk = _training(stream, 0, seconds * TRUNK)
    stream.loader = real
    # Of another epoch: the first images of epoch 0 are in the machine's memory by now.
    both = _training(stream, 1, seconds * BOTH)
    stepped = all(run.step for run in runs)

    disk = 0
    for run in runs:
        run.save()
        disk += run.state.stat().st_size + 6 * val * len(run.heads.heads)  # and its outcomes
        run.state.unlink()
    three = (loader.images_per_s, trunk.images_per_s, both.images_per_s)
    speeds = Speeds(
        loader=loader.images_per_s,
        trunk=trunk.images_per_s,
        images=both.images_per_s,
        test_loader=test_loader.images_per_s,
        test_images=evaluation_speed(*three, test_loader.images_per_s),
    )
    notes = []
    watches = (loader, test_loader, trunk, both)
    host = max(watch.host_gib for watch in watches)
    if piece < real_piece:
        host += max(0.0, trunk.host_gib - idle) * (real_piece / piece - 1)
        notes.append(
            f"images passed the trunk by {piece}, the real run's by {real_piece}: its memory is "
            "worked out from that"
        )
    if not stepped:
        notes.append("no batch was whole in that time: steps of the optimizer are not in it")
    if passes > 1:
        notes.append(f"the device holds {taken} of {len(jobs)} trunks at once")
    return Row(
        name=first.key
        if len(parts) == 1
        else f"{len(parts)} probes of {len(jobs)} trunks on {first.protocol.dataset}, together",
        stage=Probe.stage,
        images=train,
        epochs=max(part.protocol.epochs for part in parts),
        test_images=val,
        evaluations=max(len(evaluated_epochs(part.protocol)) for part in parts),
        passes=passes,
        speeds=speeds,
        host_gib=host,
        gpu_gib=gpu_gib(device),
        disk_gib=disk * passes / GIB,
        measured=(
            "speeds.loader",
            "speeds.trunk",
            "speeds.images",
            "speeds.test_loader",
            "gpu_gib",
            "disk_gib",
            *(["host_gib"] if piece == real_piece else []),
        ),
        estimated=(
            "hours",
            "speeds.test_images",
            *(["host_gib"] if piece < real_piece else []),
        ),
        notes=tuple(notes),
    )


def _loader_alone(stream: Stream, source: int, seconds: float) -> tuple[Decoded, Watch]:
    """Decode for some seconds or one epoch; the first batch, and what was seen."""
    rows = order_of(stream.seed, 0, len(stream.splits[source].paths), 1)
    unit = min(DECODED, *(run.piece for run in stream.runs))  # as the stream's
    requests = requests_of(source, 0, rows, unit)
    # The first batches of all workers come at once.
    wave = unit * max(1, stream.runs[0].trunk.workers)
    watch = Watch(seconds, stream.device, wave)
    watch.start()
    first: Decoded | None = None
    try:
        for request, decoded in zip(requests, stream.loader.batches(requests)):
            first = decoded if first is None else first
            watch.update(len(request.rows))
    except Enough:
        pass
    watch.end()
    assert first is not None
    return first, watch


def _training(stream: Stream, epoch: int, seconds: float) -> Watch:
    """Train for some seconds or one epoch, from its first image."""
    for run in stream.runs:
        run.step = 0
    watch = Watch(seconds, stream.device, max(run.piece for run in stream.runs))
    watch.start()
    with suppress(Enough):
        stream.train(epoch, stream.runs, watch)
    watch.end()
    return watch

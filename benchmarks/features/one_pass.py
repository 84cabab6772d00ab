"""One pass over the images of a dataset for any number of frozen trunks.

Each image is decoded once. What was extracted before a stop is kept: the pass begins at the image
that is farthest behind, and each trunk joins it at its own place.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.backbones.backbone import Backbone
from benchmarks.datasets.loading import load_dataset
from benchmarks.datasets.splits import Dataset, ImageSplit
from benchmarks.devices import computing, device_name, precision_on, resolve_device
from benchmarks.features.cache import ABOUT, SPLITS, AvgpoolCache
from benchmarks.features.extraction import FORWARD, Forward, read_forward
from benchmarks.features.marker import unchanged, write_marker
from benchmarks.features.pooled import pooled, width_of
from benchmarks.features.rows import BYTES, SAVE_SECONDS, RowsFile, read_saved
from benchmarks.features.took import Took
from benchmarks.images.batches import Loader, Source
from benchmarks.images.colour import Colour, Draws, Normalise
from benchmarks.images.requests import requests_of
from benchmarks.images.transforms import Geometry
from benchmarks.trunks import load_trunk
from benchmarks.whole_files import write_array
from slurm.errors import UserError
from slurm.files import write_bytes
from slurm.progress import progress
from slurm.stop import Stopped, polite_stop, stop_requested

SMALLEST = 2.0**-14  # of fp16 with all of its bits
BATCH = 64  # images per forward pass; fixed, since the batch can change the last bits


class Reader(NamedTuple):
    """One trunk of the pass."""

    item: AvgpoolCache
    backbone: Backbone
    normalise: Normalise
    forward: Forward
    took: Took

    @property
    def width(self) -> int:
        """Of a row of features."""
        return width_of(self.backbone, self.item.feature)

    def path(self, split: str) -> Path:
        """What becomes of a split."""
        return self.item.directory / f"{split}.npy"


def extract(items: Sequence[AvgpoolCache], name: str) -> None:
    """Write the features of all `items`, which read the same images; `name` is that of the bar.

    `UserError` for a folder that holds other features, for a disk that is too small, and for
    features that are no finite numbers; `Stopped` when the scheduler asks, with all saved.
    """
    first = items[0]
    dataset = load_dataset(first.dataset, first.data)
    for split, planned in zip(SPLITS, first.splits):
        dataset.splits[split].require(planned)
    for item in items:
        item.require_own()
    device = resolve_device(first.trunk.device)
    readers = [reader_of(item, device) for item in items]
    missing = {
        split: [reader for reader in readers if not _is_there(reader, split)] for split in SPLITS
    }
    _require_room(missing, dataset)
    for reader in readers:
        _begin(reader)
    with polite_stop():
        for split in SPLITS:
            if missing[split]:
                _pass(dataset.splits[split], split, missing[split], device, f"{name} {split}")
            for reader in readers:
                if reader.item.done():
                    continue
                labels = reader.item.directory / f"{split}_labels.npy"
                write_array(labels, dataset.splits[split].labels)
                written = [reader.item.directory / ABOUT]
                for whole in SPLITS[: SPLITS.index(split) + 1]:
                    written += [reader.path(whole), labels.with_name(f"{whole}_labels.npy")]
                write_marker(reader.item.directory, written, complete=split == SPLITS[-1])


def reader_of(item: AvgpoolCache, device: torch.device) -> Reader:
    """The trunk of `item`, on the device."""
    # On CPUs, too, convolutions take half the time or a little more with channels last.
    backbone = load_trunk(item.trunk).to(device).to(memory_format=torch.channels_last)
    forward = Forward(device.type, precision_on(device, item.trunk.precision))
    normalise = Normalise(item.trunk.mean, item.trunk.std)
    files = [item.directory / f"{split}.npy" for split in SPLITS]
    begun = any(file.exists() or read_saved(file) for file in files)
    took = Took(item.directory, device_name(device), begun=begun)
    return Reader(item, backbone, normalise, forward, took)


def _is_there(reader: Reader, split: str) -> bool:
    """Whether a split was extracted whole, in this way, and is as it was."""
    same = read_forward(reader.item.directory) == reader.forward
    return same and unchanged(reader.item.directory, [reader.path(split).name])


def _begin(reader: Reader) -> None:
    """Say in the folder what is extracted into it, and how long that has taken so far."""
    folder = reader.item.directory
    write_bytes(folder / ABOUT, msgspec.json.format(msgspec.json.encode(reader.item.about)) + b"\n")
    write_bytes(folder / FORWARD, msgspec.json.encode(reader.forward) + b"\n")
    reader.took.save()


def _require_room(missing: dict[str, list[Reader]], dataset: Dataset) -> None:
    """`UserError` when the disk cannot take what is still to be written."""
    needed = 0
    for split, readers in missing.items():
        for reader in readers:
            saved = read_saved(reader.path(split))
            rows = len(dataset.splits[split].paths) - (saved.rows if saved else 0)
            needed += rows * reader.width * BYTES[reader.item.dtype]
    everyone = [reader for readers in missing.values() for reader in readers]
    if not everyone:
        return
    folder = everyone[0].item.trunk.zoo / "features"
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        names = dict.fromkeys(reader.item.trunk.checkpoint.name for reader in everyone)
        raise UserError(
            f"the features of {', '.join(names)} take {needed / 1e9:.1f} GB more in {folder}, "
            f"where {free / 1e9:.1f} GB are free: free some (python -m benchmarks.features list), "
            "or take a --zoo on another disk"
        )


def _pass(
    images: ImageSplit, split: str, readers: Sequence[Reader], device: torch.device, name: str
) -> None:
    """Extract one split for those that miss it."""
    count = len(images.paths)
    with ExitStack() as stack:
        files: list[RowsFile] = []
        for reader in readers:
            made = f"{reader.forward.device} {reader.forward.precision}"
            file = RowsFile(reader.path(split), count, reader.width, reader.item.dtype, made)
            stack.callback(file.close)
            files.append(file)
        stack.callback(_note, readers, files)
        noted = before = time.monotonic()
        start = min(file.done for file in files) // BATCH * BATCH
        options: dict[str, Any] = {"desc": name, "total": count, "initial": start, "unit": "img"}
        bar = stack.enter_context(progress(**options))
        for rows, pixels, draws, colour in _batches(images, readers[0].item, start, device):
            wanted = [pair for pair in zip(readers, files) if pair[1].done < rows[0] + len(rows)]
            among = [reader for reader, _ in wanted]
            for (reader, file), every in zip(wanted, rows_of(among, pixels, draws, colour)):
                found = every[file.done - int(rows[0]) :]
                _check(found, reader, images, int(rows[0]))
                file.append(found.numpy())
            bar.update(len(rows))
            now = time.monotonic()
            for reader, _ in wanted:
                reader.took.add(now - before, len(wanted))
            before = now
            if now - noted > SAVE_SECONDS:
                _note(readers, files)
                noted = now
            if stop_requested():
                for file in files:
                    file.save()
                raise Stopped(f"{name}: saved at image {int(rows[-1]) + 1} of {count}")
        for reader, file in zip(readers, files):
            if (
                not reader.item.done()
            ):  # by a twin, whose last bits, which readers compare, may be others
                file.finish()


def _note(readers: Sequence[Reader], files: Sequence[RowsFile]) -> None:
    """Write down how long it took by now, but for twins whose rows are of no use to others."""
    for reader, file in zip(readers, files):
        if (file.shared or file.done == file.rows) and not reader.item.done():
            reader.took.save()


def _batches(
    images: ImageSplit, item: AvgpoolCache, start: int, device: torch.device
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor, Draws, Colour]]:
    """As `batches_of`, from an image on."""
    yield from batches_of(images, item, np.arange(start, len(images.paths)), BATCH, device)


def batches_of(
    images: ImageSplit,
    item: AvgpoolCache,
    rows: NDArray[np.int64],
    size: int,
    device: torch.device,
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor, Draws, Colour]]:
    """Rows, pixels on the device, draws and colour of batches of `size` images, in their order."""
    trunk = item.trunk
    colour = Colour.of(item.image)
    source = Source.of(images, Geometry(item.image, fast=trunk.fast), [colour], trunk.seed)
    loader = Loader([source], trunk.workers, device)
    requests = requests_of(0, 0, rows, size)
    for request, decoded in zip(requests, loader.batches(requests)):
        pixels = decoded.pixels.to(device, non_blocking=True)
        yield request.rows, pixels, decoded.draws[0], colour


def rows_of(
    readers: Sequence[Reader], pixels: torch.Tensor, draws: Draws, colour: Colour
) -> Iterator[torch.Tensor]:
    """The features of a batch by each trunk in turn, (n, C) fp32 or fp16 on the CPU."""
    normalisations = list(dict.fromkeys(reader.normalise for reader in readers))
    changed = colour.apply(pixels, draws, normalisations)
    for reader in readers:
        yield _pooled(reader, changed[normalisations.index(reader.normalise)], pixels.device)


def _pooled(reader: Reader, pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), computing(device, reader.forward.precision):
        found = pooled(reader.backbone, pixels, reader.item.feature).cpu()
    if reader.item.dtype != "fp16":
        return found
    largest = found.abs().amax(1)
    if bool(found.any()) and bool(largest[largest > 0].median() < SMALLEST):
        raise UserError(
            f"the features of {reader.item.trunk.checkpoint.name} are too small for fp16, below "
            f"{SMALLEST:.1g}, where it rounds coarsely: add --set dtype=fp32"
        )
    return found.half()


def _check(found: torch.Tensor, reader: Reader, images: ImageSplit, first: int) -> None:
    """`UserError` for features that are no finite numbers, before they are written."""
    finite = found.isfinite().all(1)
    if not bool(finite.all()):
        row = first + int((~finite).nonzero()[0, 0])
        why = "look at the checkpoint, and leave --amp out"
        if reader.item.dtype == "fp16":
            why += "; if they are only beyond fp16's range (65,504), add --set dtype=fp32"
        raise UserError(
            f"the features of {reader.item.trunk.checkpoint.name} are NaN or infinity for "
            f"{images.root / images.paths[row]}: {why}"
        )

"""Frozen trunk -> pooled features of every tap on disk, in one forward pass per image.

The files are those that MMSelfSup and VISSL users have: `voc07_trainval_feat5.npy` (float32,
N x D) beside `train_labels.npy`. They are a cache under a key of weights, transform and data: a
changed checkpoint or dataset is another folder, never a silent hit.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar

import msgspec

from benchmarks.datasets.loading import entry_name, fingerprints, load_dataset, require_split
from benchmarks.features.marker import COMPLETE, is_complete, unchanged, write_marker
from benchmarks.features.took import TOOK, read_seconds
from benchmarks.images.checking import check_items
from benchmarks.protocols import ImageTransform, LowShotProtocol, SvmProtocol
from benchmarks.results import Split, key_of
from benchmarks.trunks import Trunk, load_trunk
from benchmarks.whole_files import write_array
from slurm.errors import UserError
from slurm.files import atomic_path, write_bytes
from slurm.progress import progress
from slurm.sweep import Item, Resources

if TYPE_CHECKING:
    from benchmarks.backbones.backbone import Backbone
    from benchmarks.datasets.splits import ImageSplit

BATCH = 64  # images per forward pass; fixed, since the batch can change the last bits

FORWARD = "forward.json"  # beside the features: how they were computed


class Forward(msgspec.Struct, frozen=True):
    """How features were computed; the key of their folder knows no device's own precision."""

    device: str
    precision: str


class _OvertakenError(Exception):
    """Another process has extracted all there is."""


@dataclass(frozen=True)
class ExtractVoc:
    """Extract trainval and test features of every tap into `directory`."""

    trunk: Trunk
    data: Path  # VOCdevkit/VOC2007, or own data of its layout
    image: ImageTransform
    pooled_size: int
    splits: tuple[Split, ...]  # fingerprints of trainval and test
    classes: tuple[str, ...] = ()  # see `labels.telling_names`
    dataset: str = "voc07"  # as protocols name it

    stage: ClassVar[str] = "extract"

    @property
    def needs(self) -> tuple[Item, ...]:
        """The check of the images, where it was asked for."""
        if not self.trunk.check_images:
            return ()
        splits = dict(zip(("trainval", "test"), self.splits))
        return check_items(self.trunk.zoo, self.dataset, self.data, splits, self.trunk.workers)

    @cached_property
    def directory(self) -> Path:
        """Where the files lie once the item is done."""
        checkpoint = self.trunk.checkpoint
        name = entry_name(self.dataset)
        inputs = (name, self.trunk.inputs(), self.image, self.pooled_size, self.splits)
        key = key_of(*inputs, *([self.classes] if self.classes else []))
        return self.trunk.zoo.joinpath("features", checkpoint.name, f"{name}-{key}")

    @cached_property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.trunk.checkpoint.name}/features/{self.directory.name}"

    @property
    def resources(self) -> Resources:
        """One GPU where there is one."""
        return Resources(gpus=int(self.trunk.device != "cpu"))

    @property
    def marker(self) -> Path:
        """Written last: what every other file holds."""
        return self.directory / COMPLETE

    @property
    def result(self) -> Path:
        """What tells those who only look that all is there."""
        return self.marker

    def done(self) -> bool:
        """Whether the marker is there, and every file that it lists of the size that it had."""
        return is_complete(self.directory)

    def run(self) -> None:
        """Write the label files, then the feature files that are not there yet, then the marker."""
        from benchmarks.devices import device_name, precision_on, resolve_device
        from benchmarks.features.files import feature_path
        from benchmarks.features.labels import label_path, telling_names

        dataset = load_dataset(self.dataset, self.data)
        for split, planned in zip(("trainval", "test"), self.splits):
            dataset.splits[split].require(planned)
        backbone = load_trunk(self.trunk)
        device = resolve_device(self.trunk.device)
        forward = Forward(device.type, precision_on(device, self.trunk.precision))
        if read_forward(self.directory) not in (None, forward) and not self.done():
            for file in self.directory.glob("*.npy"):  # never half of each
                file.unlink()
        write_bytes(self.directory / FORWARD, msgspec.json.encode(forward) + b"\n")
        began, before = time.monotonic(), read_seconds(self.directory) or {}
        name = device_name(device)
        written = [self.directory / "classes.json"]
        classes = dataset.splits["trainval"].classes
        if telling_names(classes) != self.classes:
            raise UserError(
                f"the classes of {self.data} were renamed after this run was planned: run the "
                "command again"
            )
        write_bytes(written[0], msgspec.json.encode(classes) + b"\n")
        for split, images in dataset.splits.items():
            labels = label_path(self.directory, split)
            write_array(labels, images.labels)
            files = {
                tap.name: feature_path(self.directory, tap.name, split) for tap in backbone.taps
            }
            if not unchanged(self.directory, [file.name for file in files.values()]):
                try:
                    self._extract(backbone, images, files)
                except _OvertakenError:
                    return
            written += [labels, *files.values()]
            seconds = before.get(name, 0.0) + time.monotonic() - began
            write_bytes(self.directory / TOOK, msgspec.json.encode({**before, name: seconds}))
            write_marker(self.directory, written, complete=split == "test")

    def _extract(self, backbone: "Backbone", images: "ImageSplit", files: dict[str, Path]) -> None:
        """Stream `images` through the trunk; memory holds one batch whatever the number of taps.

        Plain writes rather than a memory map, since a full disk kills a mapped process.
        """
        import numpy as np
        import torch

        from benchmarks.backbones.pooling import pool
        from benchmarks.devices import computing, precision_on, resolve_device
        from benchmarks.images.batches import load_batches
        from benchmarks.images.transforms import build_transform

        device = resolve_device(self.trunk.device)
        backbone = backbone.to(device)
        if device.type == "cuda":
            backbone = backbone.to(memory_format=torch.channels_last)
        precision = precision_on(device, self.trunk.precision)
        batches = load_batches(
            images,
            build_transform(self.image, self.trunk.mean, self.trunk.std, fast=self.trunk.fast),
            np.arange(len(images.paths)),
            batch_size=BATCH,
            seed=self.trunk.seed,
            epoch=0,
            workers=self.trunk.workers,
            device=device,
        )
        with ExitStack() as stack:
            temporaries = {
                tap: stack.enter_context(atomic_path(path)) for tap, path in files.items()
            }
            opened = {
                tap: stack.enter_context(path.open("wb")) for tap, path in temporaries.items()
            }
            bar = stack.enter_context(progress(desc=self.key, total=len(images.paths), unit="img"))
            for number, (pixels, _) in enumerate(batches):
                with torch.inference_mode(), computing(device, precision):
                    pooled = pool(backbone(pixels), self.pooled_size)
                for tap, values in pooled.items():
                    rows = values.float().cpu().numpy()
                    if number == 0:
                        _write_header(opened[tap], (len(images.paths), rows.shape[1]))
                    opened[tap].write(rows.tobytes())
                bar.update(len(pixels))
            for file in opened.values():
                file.flush()
            if self.done():  # by a twin, whose last bits, which readers compare, may be others
                raise _OvertakenError


def extract_item(trunk: Trunk, data: Path, protocol: SvmProtocol | LowShotProtocol) -> ExtractVoc:
    """The extraction that `protocol` needs; `UserError` when the data cannot be read."""
    from benchmarks.features.labels import telling_names

    require_split(protocol.dataset, data, "trainval")
    splits = fingerprints(protocol.dataset, data)
    classes = load_dataset(protocol.dataset, data).splits["trainval"].classes
    both = (splits["trainval"], splits["test"])
    numbers = (protocol.image, protocol.pooled_size)
    return ExtractVoc(trunk, data, *numbers, both, telling_names(classes), protocol.dataset)


def read_forward(directory: Path) -> Forward | None:
    """How the features in `directory` were computed; None where that was not noted."""
    try:
        return msgspec.json.decode((directory / FORWARD).read_bytes(), type=Forward)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    """The header of a float32 .npy file of `shape`."""
    from numpy.lib import format as npy

    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)

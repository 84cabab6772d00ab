"""Images from disk to batches, in worker processes, reproducibly.

The random draws of an image depend on (seed, epoch, index of the image) alone: not on the number
of workers, on the order, on where a run was resumed, nor on any global generator.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.decoding import open_image
from benchmarks.images.transforms import Transform
from slurm.errors import UserError
from slurm.stop import stop_requested


def load_batches(
    split: ImageSplit,
    transform: Transform,
    indices: NDArray[np.int64],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    workers: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images (B, 3, H, W) float32, indices (B,) int64) in the order of `indices`.

    Random transforms of image i are seeded by (seed, epoch, i). Worker processes are given the
    paths but no labels. Raises `UserError` naming the file when an image cannot be read.
    """
    indices = np.ascontiguousarray(indices, dtype=np.int64)
    batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    source = _Batches(str(split.root), split.paths, transform, seed, epoch)
    if workers == 0 or len(batches) < 2:
        loaded: Iterator[Tensor | _Failure] = map(source.load, batches)
    else:
        loader = DataLoader(
            source,
            batch_size=None,
            sampler=batches,
            num_workers=min(workers, len(batches)),
            collate_fn=_unchanged,
            worker_init_fn=_leave_quietly,
            generator=torch.Generator(),  # else the loader draws from the global one
        )
        loaded = _until_stopped(loader, source, batches)
    for batch, images in zip(batches, loaded):
        if isinstance(images, _Failure):
            raise UserError(images.message)
        yield images, torch.tensor(batch)


@dataclass(frozen=True)
class _Failure:
    """A user's mistake met in a worker; an exception would reach the caller as a traceback."""

    message: str


@dataclass(frozen=True, eq=False)
class _Batches(Dataset[Tensor | _Failure]):
    root: str
    paths: tuple[str, ...]
    transform: Transform
    seed: int
    epoch: int

    def __getitem__(self, batch: NDArray[np.int64]) -> Tensor | _Failure:
        return self.load(batch)

    def load(self, batch: NDArray[np.int64]) -> Tensor | _Failure:
        """Load one batch, leaving the global generator as it was."""
        state = torch.get_rng_state()
        try:
            return torch.stack([self._load_one(int(index)) for index in batch])
        except UserError as error:
            return _Failure(str(error))
        finally:
            torch.set_rng_state(state)

    def _load_one(self, index: int) -> Tensor:
        path = Path(f"{self.root}/{self.paths[index]}")
        image = open_image(path)
        # torchvision draws from torch's CPU generator only; torch.manual_seed would also touch
        # the generators of other devices.
        entropy = np.random.SeedSequence([self.seed, self.epoch, index])
        torch.default_generator.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
        try:
            return self.transform(image)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _leave_quietly(worker: int) -> None:
    """End without an error on SIGTERM, which a scheduler sends to all processes of a job.

    The main process saves then; killed workers would raise in the middle of its step.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))


def _until_stopped(
    loader: DataLoader[Any], source: _Batches, batches: Sequence[NDArray[np.int64]]
) -> Iterator[Tensor | _Failure]:
    """The loader's batches; those that its workers leave undone when told to stop, from here."""
    loaded = iter(loader)
    for number in range(len(batches)):
        try:
            images = next(loaded)
        except RuntimeError:
            if not stop_requested():
                raise
            yield from map(source.load, batches[number:])
            return
        yield images


def _unchanged(batch: Any) -> Any:
    return batch

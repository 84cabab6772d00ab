"""Images from disk to batches, in worker processes, reproducibly.

The random draws of an image depend on (seed, epoch, index of the image) alone: not on the number
of workers, on the order, on where a run was resumed, nor on any global generator. Workers decode
and do the geometry; they hand over 8 bits a channel and what was drawn for the colours.
"""

import math
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.colour import Colour, Draws
from benchmarks.images.decoding import Encoded
from benchmarks.images.names import Names
from benchmarks.images.requests import Request, Rows, requests_of
from benchmarks.images.slots import PREFETCH, Place, Slots
from benchmarks.images.transforms import Geometry, Picture, Transform
from slurm.errors import UserError
from slurm.stop import stop_requested


class Decoded(NamedTuple):
    """A batch as it comes from a worker, on the CPU."""

    pixels: Tensor  # (N, H, W, 3) uint8
    draws: tuple[Draws, ...]  # one for each colour of the source


@dataclass(frozen=True, eq=False)
class Source:
    """The images of a split through one geometry, with the draws of any number of colours.

    All colours begin where the geometry ended, so that each is drawn as if it were the only one.
    """

    root: str
    names: Names
    geometry: Geometry
    colours: tuple[Colour, ...]
    seed: int

    @classmethod
    def of(
        cls, split: ImageSplit, geometry: Geometry, colours: Iterable[Colour], seed: int
    ) -> "Source":
        """Without the labels, which no worker is to have."""
        return cls(str(split.root), Names(split.paths), geometry, tuple(colours), seed)

    def shape(self, request: Request) -> tuple[int, int, int, int]:
        """Of the pixels of a batch."""
        return len(request.rows), self.geometry.crop, self.geometry.crop, 3

    def blank(self, request: Request) -> Decoded:
        """A batch of black images, of which nothing was drawn."""
        draws = tuple(Draws.none(len(request.rows)) for _ in self.colours)
        return Decoded(torch.zeros(self.shape(request), dtype=torch.uint8), draws)

    def load(self, request: Request, pixels: Tensor | None = None) -> Decoded:
        """Decode one batch, into `pixels` if they are given.

        The global generator is left as it was. `UserError` names the file.
        """
        if pixels is None:
            # NumPy asks for huge pages, which take less time to be given.
            pixels = torch.from_numpy(np.empty(self.shape(request), np.uint8))
        array, count = pixels.numpy(), len(pixels)
        draws = tuple(Draws.none(count) for _ in self.colours)
        before = torch.get_rng_state()
        try:
            for place, (row, key) in enumerate(zip(request.rows.tolist(), request.keys.tolist())):
                array[place] = self._image(row, key, request.epoch)
                after = torch.get_rng_state() if len(self.colours) > 1 else None
                for colour, drawn in zip(self.colours, draws):
                    if after is not None:
                        torch.set_rng_state(after)
                    colour.draw(drawn, place)
        finally:
            torch.set_rng_state(before)
        return Decoded(pixels, draws)

    def _image(self, row: int, key: int, epoch: int) -> NDArray[np.uint8]:
        path = Path(f"{self.root}/{self.names[row]}")
        encoded = Encoded(path)
        # torchvision draws from torch's CPU generator only; torch.manual_seed would also touch
        # the generators of other devices.
        entropy = np.random.SeedSequence([self.seed, epoch, key])
        torch.default_generator.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
        part = self.geometry.draw_part(encoded)
        decode = encoded.tensor if self.geometry.fast else encoded.image
        image: Picture = decode(part and part.bottom)
        try:
            return self.geometry(image, part)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


class Loader:
    """Worker processes that live as long as this object, and decode what is asked for, in order."""

    def __init__(self, sources: Sequence[Source], workers: int, device: torch.device) -> None:
        """`device` is where the batches will go: from pinned memory they get to a GPU sooner."""
        self._sources = _Sources(tuple(sources))
        self._workers = workers
        self._pin = device.type == "cuda"
        self._wanted: list[Request] = []
        self._loader: DataLoader[Any] | None = None

    def batches(
        self, requests: Sequence[Request], mistakes: list[UserError] | None = None
    ) -> Iterator[Decoded]:
        """What is wanted, in order; `UserError` naming the file when an image cannot be read.

        With `mistakes` it goes there, and black images come from then on: processes that step
        together would wait for one that left. They must not use what they make of these.
        """
        requests = list(requests)
        for number, found in enumerate(self._found(requests)):
            if isinstance(found, _Failure):
                mistake = UserError(found.message)
                if mistakes is None:
                    raise mistake
                mistakes.append(mistake)
                for request in requests[number:]:
                    yield self._sources.sources[request.source].blank(request)
                return
            yield found

    def _found(self, requests: list[Request]) -> "Iterator[Decoded | _Failure]":
        if self._loader is None and self._workers and len(requests) > 1:
            self._loader = DataLoader(
                self._sources,
                batch_size=None,
                sampler=_Wanted(self._wanted),
                num_workers=min(self._workers, len(requests)),
                collate_fn=_unchanged,
                worker_init_fn=_leave_quietly,
                generator=torch.Generator(),  # else the loader draws from the global one
                persistent_workers=True,
                prefetch_factor=PREFETCH,
                pin_memory=self._pin,
            )
        if self._loader is None:
            yield from map(self._sources.__getitem__, requests)
            return
        self._wanted[:] = requests
        number = 0
        try:
            for found in self._loader:
                yield found.own(copied=self._pin) if isinstance(found, _Shared) else found
                number += 1
        except (RuntimeError, OSError, EOFError):  # also of the connection that a batch came by
            if not stop_requested():
                raise
            # The workers were told to stop too: what they leave undone is done here.
            self._loader, self._workers = None, 0
            yield from map(self._sources.__getitem__, requests[number:])


class Images:
    """The images of a split through some transforms, from workers that live as long as this."""

    def __init__(
        self,
        split: ImageSplit,
        transforms: Sequence[Transform],
        seed: int,
        workers: int,
        device: torch.device,
    ) -> None:
        self.count, self.device, self._transforms = len(split.paths), device, transforms
        names = Names(split.paths)
        sources = [
            Source(str(split.root), names, one.geometry, (one.colour,), seed) for one in transforms
        ]
        self._loader = Loader(sources, workers, device)

    def batches(
        self,
        transform: int,
        epoch: int,
        rows: Rows,
        batch_size: int,
        keys: Rows | None = None,
        mistakes: list[UserError] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images (B, 3, H, W) float32 on the device, keys (B,) int64 of the CPU), in order.

        Random transforms are seeded by (seed, epoch, key); the keys are `rows` if none are given.
        For `mistakes` see `Loader.batches`.
        """
        requests = requests_of(transform, epoch, rows, batch_size, keys)
        for request, decoded in zip(requests, self._loader.batches(requests, mistakes)):
            pixels = decoded.pixels.to(self.device, non_blocking=True)
            images = self._transforms[transform].finish(pixels, decoded.draws[0])
            yield images, torch.tensor(request.keys)


def load_batches(
    split: ImageSplit,
    transform: Transform,
    indices: Rows,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    workers: int = 0,
    device: torch.device | None = None,
    mistakes: list[UserError] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images (B, 3, H, W) float32 on `device`, indices (B,) int64) in order of `indices`.

    Random transforms of image i are seeded by (seed, epoch, i). Worker processes are given the
    paths but no labels. Raises `UserError` naming the file when an image cannot be read, or puts
    it into `mistakes` (see `Loader.batches`).
    """
    images = Images(split, [transform], seed, workers, device or torch.device("cpu"))
    rows = np.ascontiguousarray(indices, dtype=np.int64)
    return images.batches(0, epoch, rows, batch_size, mistakes=mistakes)


@dataclass(frozen=True)
class _Failure:
    """A user's mistake met in a worker; an exception would reach the caller as a traceback."""

    message: str


class _Shared(NamedTuple):
    """A batch in a worker's memory, or a copy of it in pinned memory."""

    decoded: Decoded
    place: Place

    def own(self, *, copied: bool) -> Decoded:
        """The batch in memory that the worker will not write to; `copied` if it is already."""
        pixels, draws = self.decoded
        if not copied:
            pixels = torch.from_numpy(pixels.numpy().copy())
        if not self.place.is_kept():
            raise RuntimeError("a worker wrote over a batch that was not read yet")
        return Decoded(pixels, draws)


@dataclass(frozen=True, eq=False)
class _Sources(Dataset["Decoded | _Shared | _Failure"]):
    sources: tuple[Source, ...]
    slots: Slots = field(default_factory=Slots)  # each worker's own

    def __getitem__(self, request: Request) -> "Decoded | _Shared | _Failure":
        source = self.sources[request.source]
        try:
            if get_worker_info() is None:
                return source.load(request)
            shape = source.shape(request)
            place = self.slots.next_place(math.prod(shape))
            return _Shared(source.load(request, place.pixels.view(shape)), place)
        except UserError as error:
            return _Failure(str(error))


@dataclass(frozen=True, eq=False)
class _Wanted:
    """What the loader's workers are to load next; another list each time it is asked."""

    requests: list[Request]

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self.requests))

    def __len__(self) -> int:
        return len(self.requests)


def _leave_quietly(worker: int) -> None:
    """End without an error on SIGTERM, which a scheduler sends to all processes of a job.

    The main process saves then; killed workers would raise in the middle of its step.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))


def _unchanged(batch: Any) -> Any:
    return batch

"""Images from disk to batches: PIL decoding, the protocols' transforms, reproducible loading.

Decoding and resizing are PIL's (bilinear, antialiased), as in OpenSelfSup and MMSelfSup 0.x. The
random draws of an image depend on (seed, epoch, index of the image) alone: not on the number of
workers, on the order, on where a run was resumed, nor on any global generator.
"""

import errno
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.datasets.splits import ImageSplit
from benchmarks.protocols import ImageTransform
from slurm.errors import UserError
from slurm.stop import stop_requested

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Transform = Callable[[Image.Image], Tensor]

# Principal components of ImageNet's RGB values in 0..1 (Krizhevsky et al. 2012, section 4.1; the
# figures are those of fb.resnet.torch, which OpenSelfSup's Lighting uses too).
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


def open_image(path: Path) -> Image.Image:
    """Decode an image whole, as RGB; `UserError` naming the file if it is missing or damaged.

    Grey values of 16 bits are scaled to 8, which PIL's conversion would clip instead.
    """
    try:
        with Image.open(path) as image:
            if image.mode == "F":
                raise UserError(
                    f"{path} has floating-point pixels, whose range is unknown: convert the images "
                    "to 8 or 16 bits"
                )
            grey = _to_eight_bits(image) if image.mode.startswith("I") else image
            return grey.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; complete the images or correct the list") from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # PIL's decoders raise many types for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            raise UserError(f"cannot read {path}: {error.strerror}; check the file") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is damaged or not an image ({reason}); replace the file") from None


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of modes I;16 (in any byte order) and I, rounded to the nearest of 0..255.

    Mode I can hold anything; PNG and PGM files that become it have 16 bits, from others a value
    above 255 shows it.
    """
    values = np.asarray(image).astype(np.int64)
    if image.mode == "I" and image.format not in ("PNG", "PPM") and values.max() <= 255:
        scaled = values
    else:
        scaled = (values + 128) // 257
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as (3, H, W) float32 in 0..1; bit for bit torchvision's `ToTensor`."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    return pixels.to(torch.float32).div_(255)


@dataclass(frozen=True)
class Lighting:
    """AlexNet's colour noise: add vectors x values x N(0, std) to a (3, H, W) tensor in 0..1."""

    std: float

    def __call__(self, image: Tensor) -> Tensor:
        """Return `image` with all its pixels shifted by one random colour."""
        alpha = torch.randn(3) * self.std
        shift = torch.tensor(_EIGENVECTORS) @ (alpha * torch.tensor(_EIGENVALUES))
        return image + shift[:, None, None]


class Normalise:
    """Subtract `mean` from a (3, H, W) tensor and divide by `std`, in place."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = torch.tensor(mean)[:, None, None]
        self.std = torch.tensor(std)[:, None, None]

    def __call__(self, image: Tensor) -> Tensor:
        """Return `image`, normalised; the same bits as torchvision's `Normalize`."""
        return image.sub_(self.mean).div_(self.std)


def build_transform(spec: ImageTransform, mean: Sequence[float], std: Sequence[float]) -> Transform:
    """Return the function from a PIL image to a (3, crop, crop) float32 tensor.

    The order is OpenSelfSup's: geometry, flip, rotation, colour jitter, grey, tensor in 0..1,
    lighting, normalisation by `mean` and `std` (per RGB channel, in 0..1).
    """
    steps = _geometry(spec)
    if spec.flip:
        steps.append(v2.RandomHorizontalFlip())
    if spec.rotation is not None:
        steps.append(v2.RandomRotation(spec.rotation))  # nearest neighbour, as torchvision's is
    if spec.jitter is not None:
        steps.append(v2.ColorJitter(*spec.jitter))
    if spec.greyscale is not None:
        steps.append(v2.RandomGrayscale(spec.greyscale))
    lighting = [] if spec.lighting is None else [Lighting(spec.lighting)]
    compose: Transform = v2.Compose([*steps, to_tensor, *lighting, Normalise(mean, std)])
    return compose


def _geometry(spec: ImageTransform) -> list[torch.nn.Module]:
    square = (spec.crop, spec.crop)
    if spec.random_resized_crop:
        return [v2.RandomResizedCrop(spec.crop, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))]
    steps: list[torch.nn.Module] = [] if spec.resize is None else [v2.Resize(spec.resize)]
    if spec.squash:
        return [*steps, v2.Resize(square)]
    if spec.random_crop is not None:
        return [*steps, v2.CenterCrop(spec.random_crop), v2.RandomCrop(spec.crop)]
    return [*steps, v2.CenterCrop(spec.crop)]


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
        image = open_image(Path(f"{self.root}/{self.paths[index]}"))
        # torchvision draws from torch's CPU generator only; torch.manual_seed would also touch
        # the generators of other devices.
        entropy = np.random.SeedSequence([self.seed, self.epoch, index])
        torch.default_generator.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
        return self.transform(image)


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

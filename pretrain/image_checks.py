"""`--check-images` of a pretraining: every image that is trained on is decoded once, before."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.images.checking import CheckImages, check_notes
from benchmarks.results import Split

if TYPE_CHECKING:
    from benchmarks.datasets.splits import ImageSplit


@dataclass(frozen=True)
class CheckTraining(CheckImages):
    """Decode every image that is trained on, once a zoo."""

    def images(self) -> "ImageSplit":
        """The images, read now."""
        from pretrain.images import read_images

        return read_images(self.data)


def training_checks(
    zoo: Path, data: Path, images: Split, workers: int
) -> tuple[CheckTraining, ...]:
    """What `--check-images` of a pretraining needs; the benchmarks find the check of ImageNet's."""
    return (CheckTraining(zoo, _dataset(images), data, "train", images, workers),)


def training_notes(zoo: Path, images: Split) -> tuple[str, ...]:
    """What a card must say of the images, when they were ever checked in this zoo."""
    found = check_notes(zoo, _dataset(images), {"train": images})
    return tuple(f"pretraining: {note}" for note in found)


def _dataset(images: Split) -> str:
    """How a check calls the images: if they have classes, as the benchmarks on ImageNet do."""
    return "imagenet" if images.classes else "images"

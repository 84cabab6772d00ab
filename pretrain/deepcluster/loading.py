"""A run's images from disk to its device, by workers that live as long as the run."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.batches import Loader, Request, Source, requests_of
from benchmarks.images.transforms import build_transform
from pretrain.deepcluster.recipes import Recipe

Rows = NDArray[np.int64]

_TRAIN, _EXTRACT = 0, 1  # the loader's sources


class Images:
    """The images that are trained on, augmented and plain; the workers never see a label."""

    def __init__(
        self, recipe: Recipe, images: ImageSplit, seed: int, workers: int, device: torch.device
    ) -> None:
        self.count, self.device = len(images.paths), device
        self._transforms = [
            build_transform(spec, recipe.mean, recipe.std)
            for spec in (recipe.train, recipe.extract)
        ]
        sources = [Source.of(images, one.geometry, [one.colour], seed) for one in self._transforms]
        self._loader = Loader(sources, workers, device)

    def augmented(
        self, rows: Rows, ids: Rows, epoch: int, batch_size: int
    ) -> Iterator[tuple[Tensor, Rows]]:
        """Batches of the images `rows`, each drawn by its id in the epoch's plan.

        Yields (N, 3, H, W) on the device, and the ids.
        """
        return self._finished(requests_of(_TRAIN, epoch, rows, batch_size, ids))

    def plain(self, rows: Rows, batch_size: int) -> Iterator[Tensor]:
        """Batches of the images `rows` as they are clustered; nothing in it is random."""
        found = self._finished(requests_of(_EXTRACT, 0, rows, batch_size))
        return (pixels for pixels, _ in found)

    def _finished(self, requests: list[Request]) -> Iterator[tuple[Tensor, Rows]]:
        for request, decoded in zip(requests, self._loader.batches(requests)):
            pixels = decoded.pixels.to(self.device, non_blocking=True)
            yield self._transforms[request.source].finish(pixels, decoded.draws[0]), request.keys

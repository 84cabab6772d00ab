"""One call between two epochs of any training: what are the features good for by now?

    from benchmarks.quick.look import quick_look

    print(quick_look(model, "data").knn)

k-NN, and if asked for logistic regression, on the pooled features of a trunk in memory. They are
measured as `benchmarks.knn` and `benchmarks.logreg` measure registered checkpoints, but leave no
record: it shows whether a run is getting anywhere, and is no figure for a table.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.backbones.backbone import Backbone
from benchmarks.catalog.images import CENTRE_CROP
from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD
from benchmarks.datasets.loading import load_dataset, require_split
from benchmarks.datasets.splits import Dataset, ImageSplit
from benchmarks.features.cache import SPLITS, Features
from benchmarks.features.choice import AVGPOOL, check_feature
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.knn.neighbours import nearest
from benchmarks.knn.votes import percent, vote_ranks
from benchmarks.logreg.draws import split_off
from benchmarks.logreg.evaluation import Evaluation
from benchmarks.protocols import ImageTransform
from benchmarks.quick.in_memory import device_of, features_of
from benchmarks.whole_files import write_array
from slurm.errors import UserError

BATCH = 64  # images per forward pass, as of cached features
HELD_OUT = 0.1  # of train, by which the cost is chosen
_DRAWN = 3  # keeps the generator of the images apart from others


@dataclass(frozen=True)
class QuickLook:
    """What one look found: top-1 in percent of the val images."""

    knn: dict[int, float]  # by k
    logreg: float | None  # at `cost`; None unless asked for
    cost: float | None  # C, the best on a tenth of train that was held out of its fit
    train: int  # images
    val: int
    seconds: float


def quick_look(
    backbone: nn.Module,
    data: str | Path | Dataset,
    *,
    image: ImageTransform = CENTRE_CROP,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    feature: str = AVGPOOL,
    k: Sequence[int] = (20,),
    temperature: float = 0.07,
    costs: Sequence[float] = (),
    train_images: int | None = None,
    val_images: int | None = None,
    seed: int = 0,
    workers: int = 0,
    precision: str = "",
    keep: str | Path | None = None,
) -> QuickLook:
    """Top-1 of nearest neighbours, and at `costs` of logistic regression, of a trunk as it is.

    `backbone` is on any device, in any mode: from images (N, 3, H, W) it gives a map (N, C, h, w)
    or rows (N, C), or several maps by name or in order, of which the last is taken; `feature` may
    name another map, or for a trunk of `benchmarks` the class token (`features.pooled`).
    `data` is a folder with train/CLASS/ and val/CLASS/, or of ImageNet's layout, whose lists are
    read once a process, or a `Dataset` with the splits train and val. `image`, `mean` and `std` say
    how images come to the trunk; `train_images` and `val_images`, how many are drawn (by `seed`
    alone: the same in every look) where not all are to be. `precision` is fp32, tf32 or amp; empty
    is the device's own. `keep` is a folder to write the features into, for other programs; else
    nothing is written.

    The trunk's modes, gradients, buffers and device stay as they are, and so do the generators of
    random numbers. Of several processes one may look: `DistributedDataParallel` is taken off.
    Raises `UserError` for what cannot be measured, and for features that are no finite numbers.
    """
    began = time.perf_counter()
    if isinstance(backbone, nn.parallel.DistributedDataParallel):
        backbone = backbone.module  # whose forward would wait for the other processes
    splits = _splits(data)
    limits = {"train": train_images, "val": val_images}
    parts = {split: _part(splits[split], limits[split], seed, split) for split in SPLITS}
    _check(backbone, parts, feature, k, temperature, costs)
    device = device_of(backbone)
    transform = build_transform(image, mean, std)
    found = {}
    for split, images in parts.items():
        rows = np.arange(len(images.paths))
        batches = load_batches(
            images,
            transform,
            rows,
            batch_size=BATCH,
            seed=0,
            epoch=0,  # nothing in it is random, or else it is the same each time
            workers=workers,
            device=device,
        )
        found[split] = features_of(backbone, batches, images, feature, precision)
    if keep is not None:
        _keep(Path(keep), found, parts)
    labels, truth = (torch.from_numpy(parts[split].labels.astype(np.int64)) for split in SPLITS)
    classes = parts["train"].classes
    near = nearest(found["train"], found["val"], max(k), device)
    ranks = vote_ranks(near, labels.to(device), truth, len(classes), k, temperature)
    top1 = cost = None
    if costs:
        fitted, held_out = split_off(len(labels), HELD_OUT, seed)
        arrays = (found["train"].numpy(), labels.numpy(), found["val"].numpy(), truth.numpy())
        evaluation = Evaluation(
            Features(*arrays, classes), fitted, held_out, zscore=False, device=device
        )
        chosen = evaluation.choose(costs, lambda count: None)
        top1, cost = chosen.path[chosen.best].top1, chosen.path[chosen.best].cost
    return QuickLook(
        knn={one: percent(ranks[one], 1) for one in k},
        logreg=top1,
        cost=cost,
        train=len(labels),
        val=len(truth),
        seconds=time.perf_counter() - began,
    )


def _splits(data: str | Path | Dataset) -> Mapping[str, ImageSplit]:
    if isinstance(data, Dataset):
        return data.splits
    require_split("own", Path(data), "train")
    return load_dataset("own", Path(data)).splits


def _part(images: ImageSplit, limit: int | None, seed: int, split: str) -> ImageSplit:
    """`limit` of the images, in their order; all where there are no more."""
    if limit is None or limit >= len(images.paths):
        return images
    generator = np.random.default_rng([seed, _DRAWN, SPLITS.index(split)])
    rows = np.sort(generator.permutation(len(images.paths))[: max(0, limit)])
    return images.take(rows)


def _check(
    backbone: nn.Module,
    parts: Mapping[str, ImageSplit],
    feature: str,
    k: Sequence[int],
    temperature: float,
    costs: Sequence[float],
) -> None:
    """`UserError` for what cannot be measured, before any image is decoded."""
    if parts["train"].classes != parts["val"].classes:
        raise UserError(
            "quick_look: train and val have other classes, or in another order, so that a label "
            "would mean another class in each: number both by one list"
        )
    counts = {split: len(images.paths) for split, images in parts.items()}
    for split, count in counts.items():
        if not count:
            raise UserError(f"quick_look: there is no {split} image: look at {split}_images")
    if isinstance(backbone, Backbone):
        check_feature(feature, backbone.arch)
    if not k or not all(isinstance(one, int) and 1 <= one <= counts["train"] for one in k):
        raise UserError(
            f"quick_look: k = {k} must be whole numbers from 1 to the {counts['train']:,} train "
            "images that there are, as in k=(10, 20)"
        )
    if not temperature > 0:
        raise UserError(f"quick_look: a temperature of {temperature} is not above 0")
    sound = all(math.isfinite(cost) and cost > 0 for cost in costs)
    if not sound or list(costs) != sorted(set(costs)):
        raise UserError(
            f"quick_look: costs = {costs} must be above 0 and ascending, as in (0.01, 1, 100)"
        )
    if costs and int(counts["train"] * HELD_OUT) < 1:
        raise UserError(
            f"quick_look: of {counts['train']} train images no tenth can be held out to choose a "
            "cost by: take more, or leave costs out"
        )


def _keep(folder: Path, found: Mapping[str, Tensor], parts: Mapping[str, ImageSplit]) -> None:
    """Write `train.npy`, `val.npy` and their labels, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in found.items():
        write_array(folder / f"{split}.npy", rows.numpy())
        write_array(folder / f"{split}_labels.npy", parts[split].labels.astype(np.int64))

"""A cheap look at the trunk while it trains: nearest neighbours among a part of the images.

The weighted k-NN of Wu et al. (CVPR 2018) on the average-pooled last stage. Its labels are those of
the training images, of which some are asked and others answer: it shows whether a run is getting
anywhere, and is no figure for a table.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from pretrain.deepcluster.model import DeepClusterNet
from pretrain.deepcluster.recipes import Recipe
from pretrain.deepcluster.settings import Settings

BANK = 10_000  # images that answer, at most
QUERIES = 2_000  # images that are asked, at most, and never more than a fifth of all
NEIGHBOURS = 20
TEMPERATURE = 0.07


def probe(
    net: DeepClusterNet,
    images: ImageSplit,
    recipe: Recipe,
    settings: Settings,
    device: torch.device,
) -> float:
    """Top-1 (%) of the trunk as it is now; the same images whenever it is asked for.

    Nothing of the run is changed by it, but that the network is left in evaluation mode.
    """
    rows = np.random.default_rng([settings.seed, 5]).permutation(len(images.paths))
    asked = max(1, min(QUERIES, len(rows) // 5))
    rows = rows[: asked + BANK]
    batches = load_batches(
        images,
        build_transform(recipe.extract, recipe.mean, recipe.std),
        rows,
        batch_size=min(recipe.batch_size, 256),
        seed=0,
        epoch=0,  # nothing in it is random
        workers=settings.workers,
    )
    net.eval()
    features = []
    with torch.inference_mode():
        for pixels, _ in batches:
            with torch.autocast(device.type, enabled=settings.amp):
                maps = list(net.backbone(pixels.to(device)).values())[-1]
            features.append(F.normalize(maps.float().mean((2, 3))))
    found = torch.cat(features)
    labels = torch.from_numpy(images.labels[rows]).to(device)
    return knn_top1(found[asked:], labels[asked:], found[:asked], labels[:asked])


def knn_top1(bank: Tensor, labels: Tensor, queries: Tensor, truth: Tensor) -> float:
    """How many of the queries (Q, D), in percent, their nearest in the bank (B, D) tell rightly.

    Rows are of unit length; a neighbour's vote weighs exp(cosine / TEMPERATURE).
    """
    near = (queries @ bank.T).topk(min(NEIGHBOURS, len(bank)))
    votes = torch.zeros(len(queries), int(labels.max()) + 1).to(bank)
    votes.scatter_add_(1, labels[near.indices], (near.values / TEMPERATURE).exp())
    return 100 * float((votes.argmax(1) == truth).double().mean())

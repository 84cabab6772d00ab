"""A cheap look at the trunk while it trains: nearest neighbours among a part of the images.

The weighted k-NN of Wu et al. (CVPR 2018) on the average-pooled last stage. Its labels are those of
the training images, of which some are asked and others answer: it shows whether a run is getting
anywhere, and is no figure for a table.
"""

import numpy as np

from benchmarks.datasets.splits import Dataset, ImageSplit
from benchmarks.quick.look import quick_look
from pretrain.deepcluster.model import DeepClusterNet
from pretrain.deepcluster.recipes import Recipe
from pretrain.deepcluster.settings import Settings

BANK = 10_000  # images that answer, at most
QUERIES = 2_000  # images that are asked, at most, and never more than a fifth of all
NEIGHBOURS = 20


def probe(net: DeepClusterNet, images: ImageSplit, recipe: Recipe, settings: Settings) -> float:
    """Top-1 (%) of the trunk as it is now; the same images whenever it is asked for.

    They are decoded by PIL, whatever the recipe says of those that are trained on.
    """
    rows = np.random.default_rng([settings.seed, 5]).permutation(len(images.paths))
    asked = max(1, min(QUERIES, len(rows) // 5))
    answering = rows[asked : asked + BANK]
    k = min(NEIGHBOURS, len(answering))
    splits = {"train": images.take(answering), "val": images.take(rows[:asked])}
    found = quick_look(
        net.backbone,
        Dataset("a part of the images", splits),
        image=recipe.extract,
        mean=recipe.mean,
        std=recipe.std,
        k=(k,),
        workers=settings.workers,
        precision=settings.precision,
    )
    return found.knn[k]

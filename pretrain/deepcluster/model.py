"""The network that DeepCluster trains: backbone, the feature that is clustered, linear classifier.

Caron et al., "Deep Clustering for Unsupervised Learning of Visual Features", ECCV 2018.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.backbones.backbone import build_backbone
from pretrain.deepcluster.recipes import FC7, Recipe, check_recipe

HEAD_STD = 0.01  # of the classifier's initial weights
FC_WIDTH = 4096  # of fc6 and fc7


class AveragePool(nn.Module):
    """Global average pooling: (N, C, h, w) -> (N, C)."""

    def forward(self, maps: Tensor) -> Tensor:
        """The mean over the map; unlike adaptive pooling, its backward is deterministic on GPUs."""
        return maps.mean(dim=(2, 3))


class DeepClusterNet(nn.Module):
    """Backbone -> neck -> (ReLU for fc7) -> linear classifier over the clusters."""

    def __init__(self, recipe: Recipe, *, seed: int) -> None:
        super().__init__()
        self.backbone = build_backbone(recipe.arch, sobel=recipe.sobel, seed=seed)
        last = self.backbone.taps[-1]
        self._last = last.name
        self.neck: nn.Module
        self.activation: nn.Module
        if recipe.neck == "fc7":
            check_recipe(recipe)
            self.neck, self.activation = _fc7(recipe.arch, last.channels, seed), nn.ReLU()
            width = FC_WIDTH
        else:
            self.neck, self.activation = AveragePool(), nn.Identity()
            width = last.channels
        self.width = width
        self.head = nn.Linear(width, recipe.clusters)
        reset_head(self.head, seed=seed, epoch=0)

    def features(self, images: Tensor) -> Tensor:
        """What is clustered: (N, 3, H, W) normalised pixels -> (N, width)."""
        features: Tensor = self.neck(self.backbone(images)[self._last])
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the clusters: (N, 3, H, W) -> (N, K)."""
        scores: Tensor = self.head(self.activation(self.features(images)))
        return scores


def reset_head(head: nn.Linear, *, seed: int, epoch: int) -> None:
    """Forget the classifier: weights N(0, 0.01), bias 0.

    The clusters of two clusterings do not correspond, so it has nothing to carry over. Drawn on
    the CPU from a generator keyed by (seed, epoch): the same in every process and on every device.
    """
    weights = torch.empty(head.weight.shape)
    weights.normal_(0.0, HEAD_STD, generator=generator(seed, epoch, 2))
    with torch.no_grad():
        head.weight.copy_(weights)
        head.bias.zero_()


def mean_loss(scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Cross-entropy of scores (B, K), times the weight (K,) of each target's cluster if there are.

    The mean is over the images, never divided by the weights' sum or by the number of clusters.
    """
    if weights is None:
        return F.cross_entropy(scores, targets)
    losses = F.cross_entropy(scores, targets, reduction="none")
    return (losses * weights[targets]).mean()


def generator(*key: int) -> torch.Generator:
    """A CPU generator keyed by whole numbers."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key: int) -> int:
    """One 63-bit seed from whole numbers, well spread for neighbouring keys."""
    import numpy as np

    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def parameter_groups(net: DeepClusterNet, momentum: float) -> list[dict[str, object]]:
    """SGD's groups: everything with `momentum`, the classifier without.

    FAIR makes a new, momentum-free optimiser for the classifier at each reset; OpenSelfSup sets
    its momentum to 0. Both mean that no gradient of forgotten clusters is carried over.
    """
    head = list(net.head.parameters())
    ids = {id(parameter) for parameter in head}
    trunk = [p for p in net.parameters() if id(p) not in ids and p.requires_grad]
    return [{"params": trunk, "momentum": momentum}, {"params": head, "momentum": 0.0}]


def _fc7(arch: str, channels: int, seed: int) -> nn.Sequential:
    """Max-pool, fc6 and fc7 of AlexNet or VGG-16 with dropout, without the last ReLU.

    The features that FAIR clusters are taken before that ReLU. FAIR's VGG-16 has no dropout before
    fc6. Weights are N(0, 0.01), bias 0.
    """
    pool = nn.MaxPool2d(kernel_size=3, stride=2) if arch == "alexnet" else nn.MaxPool2d(2)
    layers = nn.Sequential(
        pool,
        nn.Flatten(),
        nn.Dropout(0.5) if arch == "alexnet" else nn.Identity(),
        nn.Linear(channels * FC7[arch] ** 2, FC_WIDTH),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(FC_WIDTH, FC_WIDTH),
    )
    draws = generator(seed, 3)
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, 0.01, generator=draws)
                layer.bias.zero_()
    return layers

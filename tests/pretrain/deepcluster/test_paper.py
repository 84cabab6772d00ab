"""Two epochs of DeepCluster written plainly from the paper, loss by loss equal to a run's."""

from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import TINY, tiny_item
from torch import Tensor

from benchmarks.datasets import imagenet
from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.registry import load_backbone
from pretrain.deepcluster import train
from pretrain.deepcluster.model import DeepClusterNet, reset_head, seed_of
from pretrain.deepcluster.sampling import draw_uniform, plan_epoch

# At ten times this rate so small a network is chaotic: rounding in fp32 grows a hundredfold a step.
RECIPE = replace(TINY, epochs=2, batch_size=15, weight_decay=1e-3, learning_rate=0.005)


def selected(images: ImageSplit, rows: NDArray[np.int64]) -> ImageSplit:
    """The images of `rows`, which may name one several times; without labels."""
    paths = tuple(images.paths[row] for row in rows.tolist())
    return ImageSplit(images.root, paths, np.zeros(len(rows), dtype=np.int64), ())


def whitened(features: NDArray[np.float64]) -> NDArray[np.float32]:
    """Principal components at unit variance, then rows of unit length."""
    centred = features - features.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    best = values.argsort()[::-1][: RECIPE.pca]
    points = centred @ vectors[:, best] / np.sqrt(values[best])
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def clusters_of(points: NDArray[np.float32], epoch: int) -> NDArray[np.int64]:
    search = faiss.Clustering(points.shape[1], RECIPE.clusters)
    search.niter, search.seed = RECIPE.kmeans_iterations, seed_of(0, epoch, 1) % 2**31
    search.min_points_per_centroid, search.max_points_per_centroid = 1, 10_000_000
    index = faiss.IndexFlatL2(points.shape[1])
    search.train(points, index)
    labels: NDArray[np.int64] = index.search(points, 1)[1][:, 0]
    return labels


class Plain:
    """SGD as it is written: v = momentum v + g + decay w, w = w - rate v."""

    def __init__(self, net: DeepClusterNet) -> None:
        self.net = net
        self.speed: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(self) -> None:
        for name, weights in self.net.named_parameters():
            assert weights.grad is not None
            slope = weights.grad + RECIPE.weight_decay * weights
            if not name.startswith("head."):  # the classifier is new each time: no momentum
                slope = slope + RECIPE.momentum * self.speed.get(name, torch.zeros(()))
                self.speed[name] = slope
            weights -= RECIPE.learning_rate * slope


def test_a_run_is_the_plain_loop(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    loss_of = train.mean_loss

    def spy(scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        loss = loss_of(scores, targets, weights)
        losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(train, "mean_loss", spy)
    item = tiny_item(tmp_path, data, RECIPE)
    item.run()

    net = DeepClusterNet(RECIPE, seed=0)
    optimizer, expected = Plain(net), []
    images = imagenet.load(data).splits["train"]
    seen, crops = (
        build_transform(one, RECIPE.mean, RECIPE.std) for one in (RECIPE.extract, RECIPE.train)
    )
    for epoch in range(RECIPE.epochs):
        everything = load_batches(images, seen, np.arange(90), batch_size=90, seed=0, epoch=0)
        net.eval()
        with torch.no_grad():
            maps = net.backbone(next(iter(everything))[0])["feature5"]
        labels = clusters_of(whitened(maps.mean((2, 3)).double().numpy()), epoch)
        reset_head(net.head, seed=0, epoch=epoch)
        draws = draw_uniform(labels, seed=0, epoch=epoch)
        net.train()
        plan = plan_epoch(draws, 15)  # which says only how copies of an image are cropped apart
        drawn = load_batches(
            selected(images, plan.images),
            crops,
            plan.ids.ravel(),
            batch_size=15,
            seed=0,
            epoch=epoch,
        )
        for number, (pixels, _) in enumerate(drawn):
            batch = draws[15 * number : 15 * number + 15]
            pooled = net.backbone(pixels)["feature5"].mean((2, 3))
            scores = pooled @ net.head.weight.T + net.head.bias
            chances = scores.exp() / scores.exp().sum(1, keepdim=True)
            loss = -chances[torch.arange(15), torch.from_numpy(labels[batch])].log().mean()
            net.zero_grad()
            loss.backward()
            optimizer.step()
            expected.append(float(loss.detach()))
    assert len(losses) == 12
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    assert expected[0] == pytest.approx(np.log(8), abs=0.05)
    backbone, _ = load_backbone(tmp_path, "tiny")
    for name, tensor in backbone.trunk.state_dict().items():
        torch.testing.assert_close(tensor, net.backbone.trunk.state_dict()[name], atol=1e-3, rtol=0)

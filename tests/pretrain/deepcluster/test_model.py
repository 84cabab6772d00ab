"""The network of the paper's recipe: what is clustered, and how it starts."""

from dataclasses import replace

import pytest
import torch
import torchvision

from pretrain.deepcluster import model
from pretrain.deepcluster.model import DeepClusterNet, parameter_groups, seed_of
from pretrain.deepcluster.recipes import DEFAULT, RECIPES
from slurm.errors import UserError


def test_alexnet_clusters_fc7_before_its_relu_and_classifies_after_it() -> None:
    recipe = RECIPES["alexnet_sobel_b256-500e"]
    net = DeepClusterNet(recipe, seed=0).eval()
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = net.features(images)
        scores = net(images)
        assert features.shape == (2, net.width) == (2, 4096)
        assert scores.shape == (2, 10_000)
        assert (features < 0).float().mean() > 0.2  # the ReLU has not been applied
        assert torch.allclose(scores, net.head(features.relu()), atol=1e-6)
        assert torch.equal(net.features(images), features)  # no dropout when extracting
        assert not torch.equal(net.train().features(images), net.features(images))
    trunk, head = parameter_groups(net, momentum=0.9)
    assert (trunk["momentum"], head["momentum"]) == (0.9, 0.0)
    assert {id(p) for p in head["params"]} == {id(p) for p in net.head.parameters()}  # type: ignore[attr-defined]
    assert len(trunk["params"]) + 2 == len(list(net.parameters()))  # type: ignore[arg-type]


def test_resnet_clusters_the_average_of_its_last_stage() -> None:
    net = DeepClusterNet(RECIPES["digits_sobel_resnet18-12e"], seed=0).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = net.backbone(images)["feature5"]
        assert maps.shape == (2, 512, 2, 2)
        pooled = torch.nn.functional.adaptive_avg_pool2d(maps, 1).flatten(1)
        assert torch.allclose(net.features(images), pooled, atol=1e-5)


def test_seed_decides_all_weights() -> None:
    recipe = RECIPES["digits_sobel_resnet18-12e"]
    first, again, other = (DeepClusterNet(recipe, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    name = "backbone.trunk.conv1.weight"
    assert not torch.equal(first[name], other[name])


def test_seeds_of_neighbouring_keys_differ() -> None:
    keys = [(a, b, c) for a in range(5) for b in range(5) for c in range(5)]
    assert len({seed_of(*key) for key in keys}) == len(keys)


def test_vgg16_clusters_fc7_before_its_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers behind conv5_3, by torchvision's network of the same weights."""
    monkeypatch.setattr(model, "FC_WIDTH", 16)  # 4096 would be 120 million weights
    recipe = replace(RECIPES["vgg16_bn_sobel_b256-200e"], clusters=10)
    net = DeepClusterNet(recipe, seed=0).eval()
    trunk = torchvision.models.vgg16_bn(weights=None)
    trunk.features[0] = torch.nn.Conv2d(2, 64, 3, padding=1)
    trunk.features.load_state_dict(
        {name[9:]: value for name, value in net.backbone.trunk.state_dict().items()}, strict=True
    )
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = trunk.features.eval()(net.backbone.stem(images))
        assert maps.shape == (1, 512, 7, 7)
        first, second = (net.neck.get_submodule(name) for name in ("3", "6"))
        expected = second(first(maps.flatten(1)).relu())
        features = net.features(images)
        torch.testing.assert_close(features, expected)
        assert net(images).shape == (1, 10)
        torch.testing.assert_close(net(images), net.head(features.relu()))
        # One dropout, between fc6 and fc7.
        drops = [layer for layer in net.neck.modules() if isinstance(layer, torch.nn.Dropout)]
        assert len(drops) == 1


def test_fc7_of_another_architecture_is_refused() -> None:
    recipe = replace(RECIPES["digits_sobel_resnet18-12e"], neck="fc7")
    with pytest.raises(UserError, match="belongs to alexnet"):
        DeepClusterNet(recipe, seed=0)


@pytest.mark.parametrize(
    ("arch", "sobel"),
    [("convnext_atto", True), ("vit_tiny_patch16_224", False), ("resnet10t", True)],
)
def test_any_trunk_of_timm_is_clustered_by_the_average_of_its_last_map(
    arch: str, sobel: bool
) -> None:
    """Of those without BatchNorm too, and of those whose maps are all of one size."""
    recipe = replace(RECIPES[DEFAULT], arch=arch, sobel=sobel, clusters=10)
    net = DeepClusterNet(recipe, seed=0).train()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    scores = net(images)
    assert scores.shape == (2, 10)
    scores.logsumexp(1).sum().backward()
    assert any(weights.grad is not None and weights.grad.any() for weights in net.parameters())
    net.eval()
    with torch.inference_mode():
        last = list(net.backbone(images).values())[-1]
        torch.testing.assert_close(net.features(images), last.flatten(2).mean(2))
    assert net.features(images).shape == (2, net.width)

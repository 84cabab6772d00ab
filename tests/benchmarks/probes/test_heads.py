import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR, VISSL_IMAGENET_LINEAR
from benchmarks.probes.heads import FrozenInputNorm, Head, Heads, parameter_groups


def pooled_batch(seed: int = 0) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return {
        "feature1": torch.randn(16, 4 * 9, generator=draws) * 3 + 1,
        "feature2": torch.randn(16, 8 * 4, generator=draws),
    }


def test_norm_equals_torch_batch_norm_in_training_and_evaluation() -> None:
    ours, reference = FrozenInputNorm(5), nn.BatchNorm1d(5, affine=False)
    draws = torch.Generator().manual_seed(0)
    for _ in range(4):
        inputs = torch.randn(7, 5, 6, generator=draws) * 2 + 3
        torch.testing.assert_close(ours(inputs), reference(inputs))
    torch.testing.assert_close(ours.running_mean, reference.running_mean)
    torch.testing.assert_close(ours.running_var, reference.running_var)
    ours.eval()
    reference.eval()
    inputs = torch.randn(3, 5, 6, generator=draws)
    torch.testing.assert_close(ours(inputs), reference(inputs))


def test_a_last_batch_of_one_image_with_one_cell_can_be_trained_on() -> None:
    norm = FrozenInputNorm(3)
    assert not norm(torch.tensor([[[1.0], [2.0], [3.0]]])).any()
    torch.testing.assert_close(norm.running_mean, torch.tensor([0.1, 0.2, 0.3]))


def test_a_head_equals_batch_norm_on_the_map_then_a_linear_layer() -> None:
    """The multi-head probe normalises the pooled map per channel, then flattens it."""
    head = Head(4, 9, 10, IMAGENET_LINEAR, torch.Generator().manual_seed(0))
    pooled = pooled_batch()["feature1"]
    maps = nn.BatchNorm2d(4, affine=False)(pooled.view(16, 4, 3, 3))
    expected = nn.functional.linear(maps.flatten(1), head.linear.weight, head.linear.bias)
    torch.testing.assert_close(head(pooled), expected)


def test_initial_weights_are_those_of_the_protocol() -> None:
    normal = Head(64, 144, 50, IMAGENET_LINEAR, torch.Generator().manual_seed(0)).linear
    assert normal.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not normal.bias.any()
    default = Head(64, 144, 50, VISSL_IMAGENET_LINEAR, torch.Generator().manual_seed(0)).linear
    bound = 1 / math.sqrt(9216)
    assert bound * 0.99 < default.weight.abs().max().item() <= bound


def test_the_avgpool_head_has_no_normalisation_and_the_vissl_head_has_scale_and_shift() -> None:
    draws = torch.Generator().manual_seed(0)
    assert Head(8, 1, 3, IMAGENET_AVGPOOL, draws).norm is None
    assert Head(8, 1, 3, IMAGENET_LINEAR, draws).scale is None
    assert Head(8, 1, 3, VISSL_IMAGENET_LINEAR, draws).scale is not None


def test_only_linear_layers_decay() -> None:
    heads = Heads({"feature1": 4, "feature2": 8}, pooled_batch(), 3, VISSL_IMAGENET_LINEAR, seed=0)
    linear, norm = parameter_groups(heads, 5e-4)
    assert (linear["weight_decay"], norm["weight_decay"]) == (5e-4, 0.0)
    assert len(linear["params"]) == len(norm["params"]) == 4  # type: ignore[arg-type]


def test_heads_trained_together_equal_heads_trained_alone() -> None:
    channels = {"feature1": 4, "feature2": 8}
    protocol = replace(IMAGENET_LINEAR, learning_rate=0.1)
    labels = torch.arange(16) % 3
    together = Heads(channels, pooled_batch(), 3, protocol, seed=1)
    alone = Heads(channels, pooled_batch(), 3, protocol, seed=1)
    for taps, heads in ((("feature1", "feature2"), together), (("feature2",), alone)):
        optimizer = torch.optim.SGD(parameter_groups(heads, 1e-4), lr=0.1, momentum=0.9)
        for step in range(5):
            logits = heads(pooled_batch(step))
            optimizer.zero_grad()
            sum(nn.functional.cross_entropy(logits[tap], labels) for tap in taps).backward()
            optimizer.step()
    trained, single = together.heads["feature2"], alone.heads["feature2"]
    torch.testing.assert_close(trained.linear.weight, single.linear.weight, rtol=0, atol=0)

"""Pooling against torch's modules with MMSelfSup's parameters, and its bounds."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from benchmarks.backbones import pooling
from benchmarks.backbones.pooling import pool, pooled_side

# MMSelfSup / OpenSelfSup MultiPooling, pool_type "specified", for feature1..feature5 of ResNet-50.
SPECIFIED = {
    "feature1": (64, 112, nn.AvgPool2d(kernel_size=10, stride=10, padding=4), 9216),
    "feature2": (256, 56, nn.AvgPool2d(kernel_size=16, stride=8, padding=0), 9216),
    "feature3": (512, 28, nn.AvgPool2d(kernel_size=13, stride=5, padding=0), 8192),
    "feature4": (1024, 14, nn.AvgPool2d(kernel_size=8, stride=3, padding=0), 9216),
    "feature5": (2048, 7, nn.AvgPool2d(kernel_size=6, stride=1, padding=0), 8192),
}


def test_resnet50_is_pooled_as_mmselfsup_does() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = {
        name: torch.randn(2, channels, side, side, generator=generator)
        for name, (channels, side, _, _) in SPECIFIED.items()
    }
    pooled = pool(maps)
    assert list(pooled) == list(SPECIFIED)
    for name, (_, _, module, size) in SPECIFIED.items():
        assert pooled[name].shape == (2, size)
        assert torch.equal(pooled[name], module(maps[name]).flatten(1))


def test_product_of_a_gpu_is_the_same_average() -> None:
    """In float32 to the last bits, and in half precision nearer than its own rounding."""
    generator = torch.Generator().manual_seed(3)
    for (height, side), window in pooling.SPECIFIED.items():
        maps = torch.randn(2, 5, height, height, generator=generator) + 3
        expected = functional.avg_pool2d(maps, window.kernel, window.stride, window.padding)
        exact = pooling._pool_by_product(maps, window, side)
        assert exact.shape == expected.shape
        assert torch.allclose(exact, expected, rtol=1e-6, atol=1e-6)
        half = maps.bfloat16().contiguous(memory_format=torch.channels_last)
        rounded = pooling._pool_by_product(half, window, side)
        wanted = functional.avg_pool2d(half.float(), window.kernel, window.stride, window.padding)
        assert torch.allclose(rounded, wanted, rtol=2.0**-8, atol=0)


def test_border_of_the_stem_counts_the_padding() -> None:
    """As torch does and Caffe2 does not: the corner window holds 6 x 6 map pixels of 100."""
    pooled = pool({"feature1": torch.ones(1, 64, 112, 112)})["feature1"].view(64, 12, 12)
    assert torch.allclose(pooled[:, 0, 0], torch.tensor(0.36))
    assert torch.allclose(pooled[:, 5, 5], torch.tensor(1.0))


def test_other_sizes_are_pooled_adaptively() -> None:
    features = torch.randn(2, 512, 7, 7, generator=torch.Generator().manual_seed(1))
    expected = nn.AdaptiveAvgPool2d(4)(features).flatten(1)
    assert torch.equal(pool({"feature5": features})["feature5"], expected)


def test_a_single_pixel_is_the_global_average() -> None:
    features = torch.randn(2, 2048, 7, 5, generator=torch.Generator().manual_seed(2))
    pooled = pool({"feature5": features}, pooled_size=100)["feature5"]
    assert torch.allclose(pooled, features.mean((2, 3)), atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(
    channels=st.integers(1, 4096),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 20000),
)
def test_size_is_bounded_and_the_mean_of_a_constant_kept(
    channels: int, height: int, width: int, size: int
) -> None:
    pooled = pool({"f": torch.full((1, channels, height, width), 3.0)}, size)["f"]
    side = pooled_side(channels, size)
    assert pooled.shape[1] == channels * min(side, height) * min(side, width)
    assert pooled.shape[1] <= max(size, channels)
    assert side == 1 or (side**2 * channels <= size < (side + 1) ** 2 * channels)
    if (height, side) not in {(112, 12)}:
        assert torch.allclose(pooled, torch.tensor(3.0))

"""Average pooling of the taps to about 9,000 dimensions each, as the linear probes and SVMs take.

The windows of ResNet-50 at 224 pixels are those of MMSelfSup's and OpenSelfSup's `MultiPooling`
(pool_type `specified`), which are also FAIR's and VISSL's. The stem's border windows average the
padding in, torch's default; FAIR's Caffe2 code leaves it out.
"""

from functools import lru_cache
from math import ceil, isqrt, log2
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Window(NamedTuple):
    """Arguments of `avg_pool2d`, pixels of the map."""

    kernel: int
    stride: int
    padding: int


# (side of the map, side after pooling) -> window. 12x12x64 = 9216, 6x6x256 = 9216,
# 4x4x512 = 8192, 3x3x1024 = 9216, 2x2x2048 = 8192.
SPECIFIED: dict[tuple[int, int], Window] = {
    (112, 12): Window(10, 10, 4),
    (56, 6): Window(16, 8, 0),
    (28, 4): Window(13, 5, 0),
    (14, 3): Window(8, 3, 0),
    (7, 2): Window(6, 1, 0),
}


def pooled_side(channels: int, pooled_size: int = 9216) -> int:
    """Side of the square that a map of `channels` is pooled to: floor(sqrt(size / channels))."""
    return max(1, isqrt(pooled_size // channels))


def pool(maps: dict[str, Tensor], pooled_size: int = 9216) -> dict[str, Tensor]:
    """Average-pool each map (N, C, h, w) to at most `pooled_size` values, flattened to (N, D).

    The side is `pooled_side`, never larger than the map and at least 1 (so D is C for a map with
    more channels than `pooled_size`). Where map and side are ResNet-50's, its windows are used,
    else adaptive average pooling.
    """
    return {name: _pool_map(features, pooled_size).flatten(1) for name, features in maps.items()}


def _pool_map(features: Tensor, pooled_size: int) -> Tensor:
    height, width = features.shape[-2:]
    side = pooled_side(features.shape[1], pooled_size)
    window = SPECIFIED.get((height, side)) if height == width else None
    if window is None:
        target = (min(side, height), min(side, width))
        if target == (height, width):
            return features
        return functional.adaptive_avg_pool2d(features, target)
    if features.is_cuda and features.dtype in (torch.float16, torch.bfloat16):
        return _pool_by_product(features, window, side)
    return functional.avg_pool2d(features, window.kernel, window.stride, window.padding)


def _pool_by_product(features: Tensor, window: Window, side: int) -> Tensor:
    """`avg_pool2d` of (N, C, h, h) as one matrix product an image: half as long on a GPU.

    Products of half precision are summed in float32. The weights are a power of two, so exact,
    and so small that no sum is beyond half precision where the mean is not; what is left of the
    division is done in float32. Returns float32 (N, C, side, side).
    """
    count, channels, height = features.shape[:3]
    weights, factor = _window_weights(window, side, height, features.dtype, features.device)
    rows = features.permute(0, 2, 3, 1).reshape(count, height * height, channels)
    pooled = torch.matmul(weights, rows).float().mul_(factor)
    return pooled.transpose(1, 2).reshape(count, channels, side, side)


@lru_cache(maxsize=32)
def _window_weights(
    window: Window, side: int, height: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, float]:
    """(side * side, height * height) weights, and what their sums are to be multiplied by."""
    area = window.kernel**2
    scale = 2.0 ** ceil(log2(area))
    inside = torch.zeros(side, height)
    for place in range(side):
        first = place * window.stride - window.padding
        inside[place, max(0, first) : max(0, first + window.kernel)] = 1
    weights = torch.einsum("ah,bw->abhw", inside, inside).reshape(side**2, height**2) / scale
    return weights.to(device, dtype), scale / area

"""Average pooling of the taps to about 9,000 dimensions each, as the linear probes and SVMs take.

The windows of ResNet-50 at 224 pixels are those of MMSelfSup's and OpenSelfSup's `MultiPooling`
(pool_type `specified`), which are also FAIR's and VISSL's. The stem's border windows average the
padding in, torch's default; FAIR's Caffe2 code leaves it out.
"""

from math import isqrt
from typing import NamedTuple

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
    return functional.avg_pool2d(features, window.kernel, window.stride, window.padding)

"""From a trunk to one row of features an image: a map's mean, or the class token.

`avgpool` is the mean over the positions of the last map, `feature1`..`feature5` that of another
map, `cls` the class token of the last block.
"""

from torch import Tensor

from benchmarks.backbones.backbone import Backbone
from benchmarks.backbones.class_token import class_token
from benchmarks.features.choice import AVGPOOL, CLS


def pooled(backbone: Backbone, images: Tensor, feature: str) -> Tensor:
    """(N, 3, H, W) normalised images -> (N, C) fp32, where the trunk is."""
    if feature == CLS:
        return class_token(backbone, images).float()
    maps: dict[str, Tensor] = backbone(images)
    chosen = maps[backbone.taps[-1].name if feature == AVGPOOL else feature]
    return chosen.float().mean((2, 3))


def width_of(backbone: Backbone, feature: str) -> int:
    """C of the above."""
    widths = {tap.name: tap.channels for tap in backbone.taps}
    return widths.get(feature, backbone.taps[-1].channels)  # tokens are as wide as the last map

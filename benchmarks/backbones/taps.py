"""Which feature maps an architecture gives, without importing torch where the name tells."""

import re
from functools import cache

from benchmarks.backbones.architectures import check_architecture

# Families all of whose networks have five taps; others, such as ConvNeXt, have four or fewer.
_FIVE_TAPS = re.compile(
    r"alexnet|resnet|resnext|wide_resnet|vgg|vit_(tiny|small|base|large|huge)_patch|deit_|deit3_"
)


@cache
def tap_names(arch: str) -> tuple[str, ...]:
    """Names of the maps that a backbone of `arch` gives: feature1..feature5, or only the last.

    Torch is imported for families outside `_FIVE_TAPS` alone. Raises `UserError` for an
    architecture that gives no feature maps.
    """
    if _FIVE_TAPS.match(arch):
        return tuple(f"feature{number}" for number in range(1, 6))
    import torch

    from benchmarks.backbones.backbone import Backbone

    with torch.device("meta"):
        return tuple(tap.name for tap in Backbone(check_architecture(arch), sobel=False).taps)

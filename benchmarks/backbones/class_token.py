"""The class token of a trunk's last block, for the vision transformers that have one.

A registered trunk ends with its last block, as its maps do: the token is the one before the
network's last norm, whose weights no trunk holds.
"""

import inspect
from functools import cache
from typing import Any

import torch
from torch import Tensor

from benchmarks.backbones.backbone import Backbone


@cache
def has_class_token(arch: str) -> bool:
    """Whether trunks of `arch` have one; `UserError` for an architecture without feature maps."""
    with torch.device("meta"):
        return _transformer(Backbone(arch, sobel=False)) is not None


def class_token(backbone: Backbone, images: Tensor) -> Tensor:
    """(N, 3, H, W) normalised images -> the token (N, C); `ValueError` where there is none."""
    model = _transformer(backbone)
    if model is None:
        raise ValueError(f"{backbone.arch} has no class token")
    trunk: Any = backbone.trunk
    ((_, prefix),) = model.forward_intermediates(
        backbone.stem(images),
        indices=list(trunk.out_indices[-1:]),
        return_prefix_tokens=True,
        intermediates_only=True,
    )
    token: Tensor = prefix[:, 0]  # timm puts registers and the distillation token behind it
    return token


def _transformer(backbone: Backbone) -> Any:
    """timm's network within the trunk if it gives the tokens that are no patches, else None."""
    model = getattr(backbone.trunk, "model", None)
    forward = getattr(model, "forward_intermediates", None)
    if getattr(model, "cls_token", None) is None or forward is None:
        return None
    gives = "return_prefix_tokens" in inspect.signature(forward).parameters
    return model if gives else None

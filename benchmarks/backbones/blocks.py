"""The maps after each block of a vision transformer, or each residual block of a ResNet."""

from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.backbones.architectures import check_architecture
from benchmarks.backbones.backbone import Backbone
from slurm.errors import UserError


class BlockTaps:
    """Looks on while a backbone computes, and hands over what each block gave as a map.

    A block of a ViT gives tokens: those of the patches, which come last, are laid out as a map.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._seen: dict[str, Tensor] = {}
        for name, block in _blocks(backbone).items():
            block.register_forward_hook(partial(self._keep, name))

    def _keep(self, name: str, block: nn.Module, inputs: Any, output: Tensor) -> None:
        self._seen[name] = output

    def take(self, last: Tensor) -> dict[str, Tensor]:
        """The map (N, C, h, w) of each block of the forward pass whose last map is `last`."""
        seen, self._seen = self._seen, {}
        height, width = last.shape[-2:]
        return {name: _as_map(output, height, width) for name, output in seen.items()}


@cache
def block_names(arch: str) -> tuple[str, ...]:
    """block1, block2, ... of an architecture; `UserError` for one that has no such blocks."""
    with torch.device("meta"):
        return tuple(_blocks(Backbone(check_architecture(arch), sobel=False)))


def _blocks(backbone: Backbone) -> dict[str, nn.Module]:
    """The blocks in the order of the forward pass."""
    trunk = backbone.trunk
    tokens = getattr(getattr(trunk, "model", None), "blocks", None)
    stages = [getattr(trunk, f"layer{number}", None) for number in range(1, 5)]
    found: Iterable[nn.Module] = ()
    if tokens is not None and len({tap.stride for tap in backbone.taps}) == 1:
        found = tokens
    elif all(isinstance(stage, nn.Sequential) for stage in stages):
        found = [block for stage in stages for block in stage]  # type: ignore[union-attr]
    names = {f"block{number}": block for number, block in enumerate(found, 1)}
    if not names:
        raise UserError(
            f"architecture {backbone.arch!r} has no blocks to put heads on: vision transformers "
            "and ResNets have"
        )
    return names


def _as_map(output: Tensor, height: int, width: int) -> Tensor:
    if output.ndim == 4:
        return output
    patches = output[:, -height * width :].transpose(1, 2)
    return patches.reshape(len(output), -1, height, width)

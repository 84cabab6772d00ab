"""A frozen trunk on its device, fed with normalised images."""

import torch
from torch import Tensor

from benchmarks.backbones.blocks import BlockTaps
from benchmarks.backbones.pooling import pool
from benchmarks.devices import computing, precision_on
from benchmarks.images.colour import Normalise
from benchmarks.protocols import LinearProtocol
from benchmarks.trunks import Trunk, load_trunk

Maps = dict[str, Tensor]  # {tap: (N, C, h, w)}
Features = dict[str, Tensor]  # {tap: (N, D)}, or {"positions": (N, C, h w)}


class FrozenTrunk:
    """One trunk in evaluation mode, as in all published protocols."""

    def __init__(self, trunk: Trunk, device: torch.device) -> None:
        self.trunk, self.device = trunk, device
        self.precision = precision_on(device, trunk.precision)
        self.backbone = load_trunk(trunk).to(device)
        if device.type == "cuda":
            self.backbone = self.backbone.to(memory_format=torch.channels_last)
        self.normalise = Normalise(trunk.mean, trunk.std)
        self.channels = {tap.name: tap.channels for tap in self.backbone.taps}
        self.last = self.backbone.taps[-1].name
        self._blocks: BlockTaps | None = None

    def tap_blocks(self) -> None:
        """From now on `maps` gives those of the blocks too."""
        self._blocks = self._blocks or BlockTaps(self.backbone)

    @torch.no_grad()
    def maps(self, images: Tensor) -> Maps:
        """The map of every tap: (N, 3, H, W) on the device, normalised."""
        with computing(self.device, self.precision):
            found: Maps = self.backbone(images)
        return found | self._blocks.take(found[self.last]) if self._blocks else found

    @torch.no_grad()
    def features(self, maps: Maps, protocol: LinearProtocol) -> Features:
        """What the heads of a protocol are trained on, float32."""
        if protocol.taps == "avgpool":
            return {"avgpool": maps[self.last].float().mean((2, 3))}
        if protocol.taps == "positions":
            return {"positions": maps[self.last].float().flatten(2)}
        # Another probe of this trunk can have asked for the maps of the blocks.
        mine = [tap for tap in maps if (tap in self.channels) == (protocol.taps == "stages")]
        pooled = pool({tap: maps[tap] for tap in mine}, protocol.pooled_size)
        return {tap: values.float() for tap, values in pooled.items()}

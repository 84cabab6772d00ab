"""The AlexNet of DeepCluster (Caron et al., ECCV 2018): five convolutions with batch norm.

Filters 96-256-384-384-256 in one tower, no local response normalisation. Parameter names are
those of the published checkpoints (`features.0.weight`, ..), without the fully connected layers.
"""

import math

import torch
from torch import Tensor, nn

FILTERS = ((96, 11, 4, 2), (256, 5, 1, 2), (384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1))
POOLED = (True, True, False, False)  # a 3x3 max-pool of stride 2 follows conv1 and conv2
CHANNELS = (96, 256, 384, 384, 256)
STRIDES = (4, 8, 16, 16, 16)  # of conv1..conv5, input pixels


class AlexNet(nn.Module):
    """Convolutional part of AlexNet: (N, in_chans, H, W) -> the maps of conv1..conv5.

    Each map is taken after batch norm and ReLU, before the max-pool that may follow. For 224-pixel
    images the sides are 55, 27, 13, 13, 13. Images need at least 31 pixels a side.
    """

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self._taps: list[int] = []
        for number, (filters, kernel, stride, padding) in enumerate(FILTERS):
            layers.append(nn.Conv2d(in_chans, filters, kernel, stride, padding))
            layers += [nn.BatchNorm2d(filters), nn.ReLU()]
            self._taps.append(len(layers) - 1)
            if number < len(POOLED) and POOLED[number]:
                layers.append(nn.MaxPool2d(kernel_size=3, stride=2))
            in_chans = filters
        self.features = nn.Sequential(*layers)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps of conv1..conv5, (N, C, h, w) each."""
        maps: list[Tensor] = []
        features: torch.Tensor = images
        for index, layer in enumerate(self.features):
            features = layer(features)
            if index in self._taps:
                maps.append(features)
        return maps

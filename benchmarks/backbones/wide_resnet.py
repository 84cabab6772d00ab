"""The wide ResNet-50s of SwAV, DeepCluster-v2 and VISSL (w2, w4, w5), which timm lacks.

Every stage has `width` times the channels, the stem included, and the 3x3 convolutions within a
block `width` times again; torchvision's and timm's wide_resnet50_2 widens only the latter.
"""

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

BLOCKS = (3, 4, 6, 3)
STRIDES = (2, 4, 8, 16, 32)
WIDTHS = {"resnet50w2": 2, "resnet50w4": 4, "resnet50w5": 5}


class WideResNet(nn.Module):
    """(N, in_chans, H, W) -> five maps of 64, 256, 512, 1024 and 2048 times `width` channels."""

    def __init__(self, width: int, in_chans: int) -> None:
        super().__init__()
        self.channels = (64 * width, *(256 * width * 2**stage for stage in range(4)))
        self.conv1 = nn.Conv2d(in_chans, 64 * width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = 64 * width
        for stage, blocks in enumerate(BLOCKS):
            outputs = self.channels[stage + 1]
            layers = [_block(inputs, outputs, 1 if stage == 0 else 2, width)]
            layers += [_block(outputs, outputs, 1, width) for _ in range(1, blocks)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
            inputs = outputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """The stem after ReLU, before max-pooling, and the four stages."""
        maps = [self.relu(self.bn1(self.conv1(images)))]
        features = self.maxpool(maps[0])
        for stage in range(1, 5):
            features = self.get_submodule(f"layer{stage}")(features)
            maps.append(features)
        return maps


def _block(inputs: int, outputs: int, stride: int, width: int) -> nn.Module:
    downsample = None
    if stride != 1 or inputs != outputs:
        convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        downsample = nn.Sequential(convolution, nn.BatchNorm2d(outputs))
    block: nn.Module = Bottleneck(inputs, outputs // 4, stride, downsample, base_width=64 * width)
    return block

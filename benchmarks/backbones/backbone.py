"""The trunk whose features are measured: a timm architecture with feature maps, or an own one.

`feature1` is the stem after its activation, before max-pooling, where an architecture has such a
map; `feature2`..`feature5` are its stages. The deepest map is always `feature5`: an architecture
with four stages and no separate stem has `feature2`..`feature5`, and one of equal blocks (ViT)
has five blocks at even distances.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import timm
import torch
from torch import Tensor, nn

from benchmarks.backbones import alexnet, wide_resnet
from benchmarks.backbones.architectures import CAFFE, OWN, VARIANTS, check_architecture
from benchmarks.backbones.sobel import SobelStem
from slurm.errors import UserError

DEEPEST = 5  # number of the deepest tap

# Families (timm modules) whose trunk must be told to take images of any size.
_ANY_SIZE = ("vision_transformer", "deit", "eva")


@dataclass(frozen=True)
class Tap:
    """One feature map of a backbone."""

    name: str  # feature1..feature5
    channels: int
    stride: int  # input pixels per map pixel, each way


class Backbone(nn.Module):
    """A trunk, behind the Sobel stem if it has one, that returns its maps by tap name.

    The state dict of `trunk` is what is registered and fingerprinted; for ResNets its keys are
    torchvision's. Weights start at random: see `build_backbone`.
    """

    _frozen = False

    def __init__(self, arch: str, *, sobel: bool) -> None:
        super().__init__()
        self.arch = arch
        self.sobel = sobel
        self.stem: nn.Module = SobelStem() if sobel else nn.Identity()
        in_chans = 2 if sobel else 3
        self.trunk: nn.Module
        if arch == "alexnet":
            self.trunk = alexnet.AlexNet(in_chans)
            shapes = list(zip(alexnet.CHANNELS, alexnet.STRIDES))
        elif arch in wide_resnet.WIDTHS:
            self.trunk = wide_resnet.WideResNet(wide_resnet.WIDTHS[arch], in_chans)
            shapes = list(zip(self.trunk.channels, wide_resnet.STRIDES))
        else:
            self.trunk, shapes = _timm_trunk(arch, in_chans)
        first = DEEPEST + 1 - len(shapes)
        self.taps = tuple(
            Tap(f"feature{number}", channels, stride)
            for number, (channels, stride) in enumerate(shapes, start=first)
        )
        self._channels_last = str(getattr(self.trunk, "output_fmt", "NCHW")).endswith("NHWC")

    def freeze(self) -> "Backbone":
        """Evaluate, without gradients: `train()`, a parent's too, changes nothing from now on.

        `requires_grad_()` ends that, for who trains it further.
        """
        self.eval().requires_grad_(False)
        self._frozen = True
        return self

    def requires_grad_(self, requires_grad: bool = True) -> "Backbone":
        """As of any module; a frozen one that is to have gradients is no longer frozen."""
        self._frozen = self._frozen and not requires_grad
        return super().requires_grad_(requires_grad)

    def train(self, mode: bool = True) -> "Backbone":
        """As any module, but for a frozen one, whose statistics must stay as they are."""
        return super().train(mode and not self._frozen)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) normalised float images -> a map (N, C, h, w) for each tap."""
        maps = self.trunk(self.stem(images))
        if self._channels_last:
            maps = [features.permute(0, 3, 1, 2) for features in maps]
        return {tap.name: features for tap, features in zip(self.taps, maps, strict=True)}


def build_backbone(arch: str, *, sobel: bool, seed: int = 0) -> Backbone:
    """A backbone with random weights that depend on `seed` alone; the global RNG is untouched.

    Raises `UserError` for an unknown architecture and for one without feature maps. The last norm
    of each residual block starts at one, as in the trunks that the published random and
    pretrained figures started from; timm would start it at zero.
    """
    check_architecture(arch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = Backbone(arch, sobel=sobel)
    for module in backbone.modules():
        if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)):
            _start_at_one(module)
    return backbone


@cache
def weight_shapes(arch: str, *, sobel: bool) -> Mapping[str, torch.Size]:
    """Names and shapes of the tensors that make up a trunk; nothing is allocated."""
    check_architecture(arch)
    with torch.device("meta"):
        trunk = Backbone(arch, sobel=sobel).trunk
    return {name: tensor.shape for name, tensor in trunk.state_dict().items()}


@cache
def network_names(arch: str) -> frozenset[str]:
    """Names of all tensors of timm's whole network, its head included; none for `OWN`."""
    if arch in OWN:
        return frozenset()
    name, _ = VARIANTS.get(arch, (CAFFE.get(arch, arch), {}))
    with torch.device("meta"):
        return frozenset(timm.create_model(name, pretrained=False).state_dict())


def _start_at_one(norm: nn.Module) -> None:
    """Undo timm's `zero_init_last`, which some families offer under other names or not at all."""
    weight = norm.weight
    if isinstance(weight, Tensor) and not weight.is_meta and not weight.any():
        nn.init.ones_(weight)


def _timm_trunk(arch: str, in_chans: int) -> tuple[nn.Module, list[tuple[int, int]]]:
    """A timm feature net and (channels, stride) of each of its maps."""
    name, arguments = VARIANTS.get(arch, (CAFFE.get(arch, arch), {}))
    family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    options: dict[str, object] = {"dynamic_img_size": True} if family in _ANY_SIZE else {}
    options.update(arguments)

    def create() -> Any:
        return timm.create_model(
            name, pretrained=False, features_only=True, in_chans=in_chans, **options
        )

    try:
        with torch.device("meta"):  # to learn which maps there are, at no cost
            info = create().feature_info
        options["out_indices"] = _levels(info, family)
        trunk = create()
    except (RuntimeError, AttributeError, TypeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"architecture {arch!r} cannot be a backbone: timm gives no feature maps for it with "
            f"{in_chans} input channels ({reason}); choose another, such as resnet50"
        ) from error
    if arch in CAFFE:
        _stride_early(trunk)
    info = trunk.feature_info
    return trunk, list(zip(info.channels(), info.reduction()))


def _stride_early(resnet: nn.Module) -> None:
    """Move the stride of bottlenecks from their 3x3 convolution to the 1x1 before it."""
    for block in resnet.modules():
        if isinstance(block, timm.models.resnet.Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)


def _levels(info: Any, family: str) -> tuple[int, ...]:
    """Which of the maps that timm offers become taps: five at most, the deepest among them."""
    strides: list[int] = info.reduction()  # of the maps that timm would choose
    count = len(info.info)
    if len(set(strides)) == 1 and count > DEEPEST:  # equal blocks; timm takes the last three
        return tuple(round(count * number / DEEPEST) - 1 for number in range(1, DEEPEST + 1))
    if family == "vgg":
        return tuple(range(DEEPEST))  # the sixth is only the max-pool of the fifth
    return tuple(info.out_indices)[-DEEPEST:]

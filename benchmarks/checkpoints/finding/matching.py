"""Whether the tensors below a prefix of a file are those of an architecture, one for one."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Size, Tensor

from benchmarks.backbones.backbone import network_names, weight_shapes
from benchmarks.checkpoints.weights import COUNTER
from benchmarks.checkpoints.wording import listed, shown

# Parts that tools put anywhere among the parts of a name, and that say nothing.
_WRAPPERS = frozenset(
    (
        "module",  # DataParallel and DistributedDataParallel, DeepSpeed, AveragedModel
        "_orig_mod",  # torch.compile
        "_forward_module",  # Lightning Fabric
        "_fsdp_wrapped_module",
        "_fpw_module",  # FairScale's FSDP
        "_checkpoint_wrapped_module",  # activation checkpointing
    )
)
# Heads, memories and the constants of a Sobel stem, which may stand within the trunk's prefix.
_HEADS = re.compile(
    r"(\w+_)?(fc|head|heads|neck|linear|classifier|top_layer|last_layer|logits|projection_head|"
    r"projection|projector|prototypes|predictor|aux|sobel|sobel_layer|loss_weight|queue|queue_ptr|"
    r"fc_norm|mask_token)\d*(\.|$)"
)
# First parts of names that would belong to the way from the image to the last feature map.
_OF_A_TRUNK = re.compile(
    r"(conv|bn|norm|ln|pre|layer|layers|stage|stages|stem|block|blocks|features|patch|embed|pos|"
    r"reg|register|registers|storage|dist|rope|downsample)\d*"
)
# Words, anywhere in a name's first part, for what is put in between the stages.
_IN_BETWEEN = re.compile(
    r"(?:^|_)(?:se|ca|sa|eca|c?bam|attn|attention|gate|gating|adapters?|lora|prompts?|film|excit\w*|"
    r"squeeze\w*|normali[sz]e\w*|pixel)\d*(?:_|$)"
)
# What has maps or tokens, but of the image's reconstruction, of detection or of another network.
_OF_TRAINING = re.compile(
    r"(de|dec|decoder|deconv|generator|disc|discriminator|up|fpn|rpn|roi|bbox|mask|seg|segmentation|"
    r"criterion|loss|losses|metric|metrics|contrast|memory|bank|teacher|student|momentum|ema|average|"
    r"averaged|shadow|target|online|key|query|text|language|transformer|rotation|jigsaw|codebook|"
    r"quantizer|tokenizer|vae|vq)\d*|[89]|\d{2,}"
)
# Last words of names of vectors with a number for each channel of what they work on.
_BY_CHANNEL = re.compile(r"(?:^|[._])(?:mean|std|var|weight|bias|gamma|beta|scale)$")
COUNTED = ("total_ops", "total_params")  # that thop leaves in every module


@dataclass(frozen=True)
class Place:
    """A tensor of the file."""

    address: str  # keys and name, as the file has them
    container: str  # the keys alone
    tensor: Tensor


@dataclass(frozen=True)
class Match:
    """The tensors of an architecture in a file, and what is wrong with them."""

    arch: str
    sobel: bool
    channels: int  # of the images that the first convolution takes
    first: str  # the first convolution, by the trunk's own name
    tensors: Mapping[str, Place]  # by the trunk's own names
    beside: tuple[str, ...]  # names of heads and the like within the trunk's prefix
    expected: int
    filled: int  # tensors that are there and of the right shape
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]  # by the file's names, as all that follow
    reshaped: tuple[str, ...]
    twice: tuple[str, ...]
    grafted: bool  # some of the unexpected lie within the architecture's own modules
    guessed: tuple[str, ...]  # of what stands beside: modules taken for heads by their shapes alone

    @property
    def label(self) -> str:
        """The architecture, in words."""
        return f"{self.arch}{' with Sobel stem' if self.sobel else ''}"

    @property
    def stem(self) -> str:
        """The file's name of the first convolution."""
        return self.tensors[self.first].address if self.first in self.tensors else self.first

    @property
    def problems(self) -> str:
        """What is wrong, in words; empty when the trunk is whole."""
        lists = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.reshaped,
            "there twice": self.twice,
        }
        return "; ".join(f"{kind}: {listed(names)}" for kind, names in lists.items() if names)

    @property
    def only_beside(self) -> bool:
        """Whether nothing is wrong but modules beside those of the architecture."""
        wrong = self.missing or self.reshaped or self.twice or self.grafted
        return bool(self.unexpected) and not wrong


def match_tensors(inside: Mapping[str, Place], arch: str, twice: list[str]) -> Match:
    """Compare the tensors of a prefix, by the names within it, with an architecture's."""
    own = own_names(arch)
    found: dict[str, Place] = {}
    for name, place in inside.items():
        other = found.setdefault(dotted(name), place)
        if other is not place and not same_tensor(other.tensor, place.tensor):
            twice = [*twice, f"{other.address} and {place.address}"]
    channels, first = _first_convolution(found, arch)
    sobel = channels == 2
    shapes = shapes_of(arch, sobel=sobel)
    tensors = {own[name]: place for name, place in found.items() if name in own}
    beside, unexpected, grafted, guessed = _others(inside, arch, own)
    missing = [name for name in shapes if name not in tensors and not _counter(name, tensors)]
    reshaped = [
        f"{shown(tensors[name].address)} {tuple(tensors[name].tensor.shape)} instead of "
        f"{tuple(shape)}"
        for name, shape in shapes.items()
        if name in tensors and tensors[name].tensor.shape != shape
    ]
    return Match(
        arch=arch,
        sobel=sobel,
        channels=channels,
        first=first,
        tensors=tensors,
        beside=tuple(beside),
        expected=len(shapes),
        filled=len(shapes) - len(missing) - len(reshaped),
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        reshaped=tuple(reshaped),
        twice=tuple(twice),
        grafted=grafted,
        guessed=tuple(guessed),
    )


def shapes_of(arch: str, *, sobel: bool) -> Mapping[str, Size]:
    """Names and shapes of the tensors of a trunk."""
    return weight_shapes(arch, sobel=sobel)


def same_tensor(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are of the same type and shape and hold the same numbers."""
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


def plain(address: str) -> str:
    """An address without the parts that tools put in."""
    return ".".join(part for part in address.split(".") if part not in _WRAPPERS)


def dotted(address: str) -> str:
    """One spelling for names that mean the same tensor, as long as the plain address.

    timm's feature nets write features_0 for features.0, buffers of averages write
    backbone_layer1_0 for backbone.layer1.0.
    """
    return plain(address).replace("_", ".")


def own_names(arch: str) -> dict[str, str]:
    """Dotted name -> the trunk's own; timm's feature nets put model. before transformers'."""
    names = shapes_of(arch, sobel=False)
    return {dotted(name.removeprefix("model.")): name for name in names}


def _counter(name: str, tensors: Mapping[str, object]) -> bool:
    """Whether a missing tensor is a counter of batch norm, which old files lack."""
    return name.endswith(COUNTER) and name.replace(COUNTER, "running_mean") in tensors


def _first_convolution(found: Mapping[str, Place], arch: str) -> tuple[int, str]:
    """How many channels the first convolution takes in the file, and its own name."""
    shapes = shapes_of(arch, sobel=False)
    first = next((name for name, shape in shapes.items() if len(shape) == 4), "")
    place = found.get(dotted(first.removeprefix("model.")))
    if place is None or place.tensor.dim() != 4:
        return 3, first
    return place.tensor.shape[1], first


def _others(
    inside: Mapping[str, Place], arch: str, own: Mapping[str, str]
) -> tuple[list[str], list[str], bool, list[str]]:
    """Names that stand beside the trunk, and addresses of tensors that it should not have.

    And whether some of these lie within its own modules, and which modules beside it are heads by
    their shapes alone.
    """
    heads = {dotted(name) for name in network_names(arch)}
    firsts = {name.split(".")[0] for name in own}
    others: dict[str, dict[str, Place]] = {}
    for name, place in inside.items():
        if dotted(name) not in own:
            others.setdefault(name.split(".")[0], {})[name] = place
    on_features = _on_features(others, _width(shapes_of(arch, sobel=False)))
    beside, unexpected, grafted = [], [], False
    guessed: dict[str, None] = {}
    for name, place in inside.items():
        same = dotted(name)
        if same in own:
            continue
        first, part = same.split(".")[0], name.split(".")[0]
        known = name.split(".")[-1] in COUNTED or same in heads or _HEADS.match(name)
        within = first in firsts or _OF_A_TRUNK.fullmatch(first) or _IN_BETWEEN.search(part)
        of_training = not within and _OF_TRAINING.fullmatch(first)
        if known or of_training:
            beside.append(name)
        elif not within and part in on_features:
            beside.append(name)
            guessed[part] = None
        else:
            unexpected.append(place.address)
            grafted = grafted or first in firsts
    return beside, unexpected, grafted, list(guessed)


def _on_features(others: Mapping[str, Mapping[str, Place]], width: int) -> set[str]:
    """Which modules, by the first part of their names, can work on pooled features, as heads do.

    They have no maps and no tokens. Their matrices take what the trunk gives, of that `width`, or
    another of them does; of vectors alone, those by channel have as many numbers.
    """
    takes: dict[str, list[int]] = {}
    gives: dict[str, list[int]] = {}
    for part, places in others.items():
        shapes = {name: _squeezed(place.tensor.shape) for name, place in places.items()}
        if any(len(shape) > 2 for shape in shapes.values()):
            continue
        pairs = [shape for shape in shapes.values() if len(shape) == 2]
        vectors = [s[0] for n, s in shapes.items() if len(s) == 1 and _BY_CHANNEL.search(n)]
        takes[part] = [taken for _, taken in pairs] or [size for size in vectors if size > 1]
        gives[part] = [given for given, _ in pairs if given > 1]
    widths, found, before = {width}, set[str](), -1
    while len(found) > before:
        before = len(found)
        for part, taken in takes.items():
            if not taken or any(size % one == 0 for size in taken for one in widths):
                found.add(part)
                widths |= {*gives[part]}
    return found


def _squeezed(shape: Size) -> tuple[int, ...]:
    """The shape of a 1x1 convolution as that of its matrix, of one vector as that of a vector."""
    sizes = tuple(shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape)
    return (max(sizes),) if len(sizes) > 1 and math.prod(sizes) == max(sizes) else sizes


def _width(shapes: Mapping[str, Size]) -> int:
    """Of the trunk's last map: that of its last norm or bias."""
    return next((shape[0] for shape in reversed(list(shapes.values())) if len(shape) == 1), 1)

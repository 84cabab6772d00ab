"""Whether the tensors below a prefix of a file are those of an architecture, one for one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Size, Tensor

from benchmarks.backbones.backbone import network_names, weight_shapes
from benchmarks.checkpoints.finding.heads import (
    is_head,
    is_of_training,
    last_width,
    may_be_within,
    on_features,
)
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
    others: dict[str, dict[str, Size]] = {}
    for name, place in inside.items():
        if dotted(name) not in own:
            others.setdefault(name.split(".")[0], {})[name] = place.tensor.shape
    heads_by_shapes = on_features(others, last_width(shapes_of(arch, sobel=False)))
    beside, unexpected, grafted = [], [], False
    guessed: dict[str, None] = {}
    for name, place in inside.items():
        same = dotted(name)
        if same in own:
            continue
        first, part = same.split(".")[0], name.split(".")[0]
        within = first in firsts or may_be_within(name)
        if same in heads or is_head(name) or (not within and is_of_training(name)):
            beside.append(name)
        elif not within and part in heads_by_shapes:
            beside.append(name)
            guessed[part] = None
        else:
            unexpected.append(place.address)
            grafted = grafted or first in firsts
    return beside, unexpected, grafted, list(guessed)

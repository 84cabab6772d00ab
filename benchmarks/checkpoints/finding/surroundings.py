"""What stands beside a trunk in its file and says that its features may be other ones."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD
from benchmarks.checkpoints.finding.beside import Beside, is_of_pixels, outside
from benchmarks.checkpoints.finding.matching import Match, Place
from benchmarks.checkpoints.finding.searching import DEEPEST, Trunk, is_optimizer
from benchmarks.checkpoints.wording import shown
from slurm.errors import UserError

_FEWEST = 4  # tensors in a list that may be weights
_MOST_NOTES = 4
_MOST_NAMED = 8
_FIRST = 64  # of the lists within a list


def check_dilation(path: object, trunk: Trunk, places: list[Place]) -> None:
    """Refuse torchvision's segmentation networks: their ResNets are dilated, with equal tensors."""
    start = trunk.address.removesuffix("backbone")
    if start == trunk.address:
        return
    for place in outside(trunk, places):
        head = re.search(r"(?:^|\.)(?:aux_)?classifier\.\d", place.address)
        if head and place.tensor.dim() == 4:
            raise UserError(
                f"{path} is a segmentation network ({shown(place.address)} is a convolution), in "
                "which torchvision dilates the last stages of the backbone; that is not built here"
            )


def pixel_notes(trunk: Trunk, places: list[Place]) -> list[str]:
    """A note for tensors that normalise pixels otherwise than is assumed."""
    notes = []
    for place in outside(trunk, places):
        if not is_of_pixels(place):
            continue
        usual = torch.tensor(IMAGENET_MEAN if place.address.endswith("mean") else IMAGENET_STD)
        given = place.tensor.flatten().float()
        if not any(torch.allclose(given, usual * top, atol=1e-3 * top) for top in (1, 255)):
            values = [round(value, 4) for value in place.tensor.flatten().tolist()]
            notes.append(f"{shown(place.address)} is {values}: it was not used to normalise pixels")
    return notes


def module_notes(match: Match, beside: Beside) -> list[str]:
    """Notes for modules within and beside the trunk's prefix that no name says to be heads."""
    notes = []
    if heads := (*match.guessed, *beside.heads):
        notes.append(f"taken for heads by the shapes of their tensors, and left: {_named(heads)}")
    if beside.in_doubt:
        notes.append(
            "left, though nothing tells whether they are on the way from the image to the "
            f"features: {_named(beside.in_doubt)}"
        )
    return notes


def nameless_notes(content: Mapping[Any, Any]) -> list[str]:
    """A note for lists of weights that have no names, such as torch_ema's `shadow_params`."""
    notes: list[str] = []
    seen: set[int] = set()
    ahead: list[tuple[str, Any, int]] = [("", content, 0)]
    while ahead and len(notes) < _MOST_NOTES:
        address, value, depth = ahead.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Mapping) and depth < DEEPEST:
            inner = [(str(key), one) for key, one in value.items() if not is_optimizer(str(key))]
            ahead += [(f"{address}.{key}".strip("."), one, depth + 1) for key, one in inner]
        elif isinstance(value, list | tuple) and depth < DEEPEST:
            weights = [one for one in value if isinstance(one, torch.Tensor) and one.dim() > 0]
            weights = [one for one in weights if one.is_floating_point()]
            if len(weights) >= _FEWEST and any(one.dim() > 1 for one in weights):
                notes.append(
                    f"{shown(address)} is a list of {len(weights)} tensors without names, perhaps "
                    "averaged weights: they were not used"
                )
            ahead += [(f"{address}.{i}", one, depth + 1) for i, one in enumerate(value[:_FIRST])]
    return notes


def _named(modules: Sequence[str]) -> str:
    more = f" and {len(modules) - _MOST_NAMED} more" * (len(modules) > _MOST_NAMED)
    return ", ".join(map(shown, modules[:_MOST_NAMED])) + more

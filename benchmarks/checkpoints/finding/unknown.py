"""What to say of a file in which no trunk was found."""

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.checkpoints.finding.matching import Place, plain
from benchmarks.checkpoints.finding.searching import Trunk, nearest_trunk
from benchmarks.checkpoints.formats import format_names
from benchmarks.checkpoints.wording import listed
from slurm.errors import UserError

_SHARD = re.compile(r"-\d+-of-\d+\.")  # in the names that transformers and timm give to shards
_NEAR = 0.9  # share of an architecture's tensors below which a trunk is taken for another's
# The common architectures that a trunk is compared with, by what tells them apart: blocks of the
# third stage, or the width of the tokens.
_RESNETS = {2: ("resnet18",), 6: ("resnet34", "resnet50"), 23: ("resnet101",), 36: ("resnet152",)}
_TRANSFORMERS = {
    192: ("vit_tiny_patch16_224",),
    384: ("vit_small_patch16_224",),
    768: ("vit_base_patch16_224",),
    1024: ("vit_large_patch16_224",),
}


def explain_unknown(path: object, content: Mapping[Any, Any], places: list[Place]) -> UserError:
    """The error for a file of no known architecture.

    A trunk that is nearly one of a common architecture is compared with that. --arch is spoken of
    only where timm has a network with children of these names.
    """
    if not places:
        return UserError(
            f"{path} holds no tensors of a network (at its top: {listed(content, 8)}); save the "
            "trunk's state dict alone: torch.save(model.state_dict(), 'weights.pth')"
        )
    if _SHARD.search(Path(str(path)).name):
        return UserError(
            f"{path} is one of several files that hold a network together; save it as one: "
            "torch.save(model.state_dict(), 'weights.pth')"
        )
    near = nearest_trunk(places, _likely)
    if near is not None and near.share >= _NEAR:
        return UserError(_differs(path, near))
    names = listed([place.address for place in places])
    if timm_may_have_it(places):
        return UserError(
            f"{path}: cannot tell the architecture; give --arch (its tensors: {names})"
        )
    if near is not None and near.share >= 0.5:
        return UserError(_differs(path, near))
    return UserError(
        f"{path} holds no trunk that is known here, whatever is taken off its names: its tensors "
        f"are {names}; formats: {', '.join(format_names())}"
    )


def _likely(inside: Mapping[str, Place]) -> tuple[str, ...]:
    """Common architectures that the tensors below a prefix may be meant to be."""
    blocks = {name.split(".")[1] for name in inside if re.match(r"layer3\.\d+\.", name)}
    if blocks:
        return _RESNETS.get(len(blocks), ())
    if any(name.startswith("features.") for name in inside):
        return ("alexnet",) if len(inside) < 60 else ("vgg16_bn",)
    norm = next((place for name, place in inside.items() if name.endswith("norm1.weight")), None)
    return _TRANSFORMERS.get(norm.tensor.numel(), ()) if norm else ()


def _differs(path: object, near: Trunk) -> str:
    assert near.match is not None
    return (
        f"{path} is no {near.match.label}, though that is the nearest: {near.match.filled} of "
        f"{near.match.expected} keys match; {near.match.problems}"
    )


def timm_may_have_it(places: list[Place]) -> bool:
    """Whether below some prefix all children are called as those of a network in timm.

    Told by the names that timm's sources assign, since to build all its networks takes minutes.
    """
    children: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    stems: set[str] = set()
    for place in places:
        parts = plain(place.address).split(".")
        for depth in range(min(len(parts) - 1, 6)):
            prefix = ".".join(parts[:depth])
            children.setdefault(prefix, set()).add(parts[depth])
            counts[prefix] = counts.get(prefix, 0) + 1
            if place.tensor.dim() == 4 and place.tensor.shape[1] in (2, 3):
                stems.add(prefix)
    return any(
        2 * counts[prefix] >= len(places) and len(names) > 2 and _in_timm(frozenset(names))
        for prefix, names in children.items()
        if prefix in stems and not any(name.isdigit() for name in names)
    )


@cache
def _in_timm(children: frozenset[str]) -> bool:
    words = [
        rf"self\.{re.escape(name)}\b|f?'{re.escape(name.rstrip('0123456789'))}(\{{|')"
        for name in sorted(children)
    ]
    return any(all(re.search(word, text) for word in words) for text in _sources())


@cache
def _sources() -> tuple[str, ...]:
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "models"
    return tuple(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py")))

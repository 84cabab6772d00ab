"""What stands beside a trunk that has a prefix: heads, other networks, or modules on its way.

A module is named at the level at which it parts from the trunk: beside `model.backbone.` these are
`model.projector` and `queue`.
"""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from torch import Size, Tensor

from benchmarks.checkpoints.finding.heads import (
    COUNTED,
    is_head,
    is_of_a_judge,
    is_of_an_adapter,
    is_of_training,
    is_put_between,
    keeps_a_stage,
    last_width,
    may_be_within,
    may_make_images,
    on_features,
    on_the_way,
)
from benchmarks.checkpoints.finding.matching import Match, Place, plain, same_tensor, shapes_of
from benchmarks.checkpoints.finding.searching import TOP, Trunk
from benchmarks.checkpoints.wording import listed
from slurm.errors import UserError

DROP_HINT = (
    "; what is not on the way from the image to the features can be left out by --drop PREFIX"
)

_PIXELS = re.compile(r"(?:^|(?<!running)[._])(?:mean|std)$")


@dataclass(frozen=True)
class Beside:
    """The modules beside a trunk of which no name says that they are heads or the like."""

    on_the_way: dict[str, tuple[str, ...]]  # modules that may change the features: their tensors
    heads: tuple[str, ...]  # modules, by the file's names: heads by their shapes
    in_doubt: tuple[str, ...]  # modules of which neither can be told


def look_beside(
    trunk: Trunk, trunks: Iterable[Trunk], strangers: Collection[str], places: Iterable[Place]
) -> Beside:
    """Sort what stands beside `trunk` by the rule for heads within its prefix.

    What belongs to another of the `trunks`, or lies at or around a plain prefix in `strangers`, is
    another network's; what has the trunk's own tensors is a second name of a part of it.
    """
    assert trunk.match is not None
    modules = _modules(trunk, places)
    theirs = {p.address for other in trunks if other is not trunk for p in other.tensors}
    own = {
        name: inside
        for name, inside in modules.items()
        if not any(place.address in theirs for place in inside.values())
        and not any(_overlap(name, root) for root in strangers if not _holds(root, trunk))
    }
    own = {name: kept for name, inside in own.items() if (kept := _weights(inside))}
    shapes = {
        name: {inner: place.tensor.shape for inner, place in inside.items()}
        for name, inside in own.items()
    }
    trunks_shapes = shapes_of(trunk.match.arch, sobel=trunk.match.sobel)
    width = last_width(trunks_shapes)
    channels = {shape[0] for shape in trunks_shapes.values() if len(shape) == 4}
    may_be_heads = on_features(shapes, width)
    may_change = on_the_way(shapes, channels, width)
    changing: dict[str, tuple[str, ...]] = {}
    heads: list[str] = []
    in_doubt: list[str] = []
    for name, inside in own.items():
        first, place = next(iter(inside.items()))
        if all(_is_of(trunk.match, place.tensor) for place in inside.values()):
            continue
        label = _label(trunk, place)
        if is_head(first) or (is_of_training(first) and not may_be_within(first)):
            doubtful = name in may_change or may_make_images(first, shapes[name])
            in_doubt += [label] if doubtful else []
        elif name in may_change:
            changing[label] = tuple(one.address for one in inside.values())
        elif _is_noted(trunk, place, shapes[name]):
            doubtful = is_put_between(first) or keeps_a_stage(shapes[name], channels, width)
            is_guessed = name in may_be_heads and not doubtful
            (heads if is_guessed else in_doubt).append(label)
    return Beside(changing, tuple(heads), tuple(in_doubt))


def check_beside(path: object, trunk: Trunk, beside: Beside) -> None:
    """`UserError` where a module beside the trunk may be on its way."""
    if beside.on_the_way:
        tensors = [address for of in beside.on_the_way.values() for address in of]
        drops = " ".join(f"--drop {shlex.quote(module)}" for module in beside.on_the_way)
        raise UserError(
            f"{path} holds {trunk}, and beside it what may change its features, as a norm of the "
            f"image's colours or a module between two stages does: unexpected: "
            f"{listed(tensors)}; what is not on the way from the image to the features can be left "
            f"out by {drops}"
        )


def left_out(trunk: Trunk, places: Iterable[Place]) -> dict[str, int]:
    """What stands beside a trunk in its dictionary: module, by the file's names -> tensors."""
    assert trunk.match is not None
    counts: dict[str, int] = {}
    names = [
        (place.address, _label(trunk, place))
        for place in outside(trunk, places)
        if place.container == trunk.container
    ]
    names += [(name, name.partition(".")[0]) for name in trunk.match.beside]
    for name, module in names:
        last = name.rpartition(".")[2]
        key = last if last in COUNTED else module
        counts[key] = counts.get(key, 0) + 1
    return counts


def is_of_pixels(place: Place) -> bool:
    """Whether a tensor looks like the mean or the standard deviation of pixels."""
    tensor = place.tensor
    return (
        tensor.is_floating_point()
        and tensor.numel() == 3
        and _PIXELS.search(place.address) is not None
    )


def outside(trunk: Trunk, places: Iterable[Place]) -> list[Place]:
    """The tensors that do not lie below the trunk's prefix."""
    taken = {place.address for place in trunk.inside.values()}
    return [place for place in places if place.address not in taken]


def _modules(trunk: Trunk, places: Iterable[Place]) -> dict[str, dict[str, Place]]:
    """Plain address of a module beside the trunk -> its tensors, by names that begin with it."""
    found: dict[str, dict[str, Place]] = {}
    for place in outside(trunk, places):
        parts = plain(place.address).split(".")
        level = _level(trunk, parts)
        found.setdefault(".".join(parts[: level + 1]), {})[".".join(parts[level:])] = place
    return found


def _level(trunk: Trunk, parts: list[str]) -> int:
    """How many first parts of a plain address are those of the trunk's; never all."""
    own = [] if trunk.address == TOP else trunk.address.split(".")
    level = 0
    while level < min(len(own), len(parts) - 1) and own[level] == parts[level]:
        level += 1
    return level


def _label(trunk: Trunk, place: Place) -> str:
    """The module of a tensor beside the trunk, by the names within the trunk's dictionary."""
    level = _level(trunk, plain(place.address).split("."))
    parts = place.address.split(".")
    starts = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    reaching = (start for start in starts if plain(start) and plain(start).count(".") >= level)
    module = next(reaching, place.address)
    return module.removeprefix(f"{trunk.container}.") if trunk.container else module


def _weights(inside: dict[str, Place]) -> dict[str, Place]:
    """Without whole numbers, counts, statistics of pixels, and what losses and metrics hold."""
    return {
        name: place
        for name, place in inside.items()
        if place.tensor.is_floating_point()
        and not place.tensor.is_nested
        and name.rpartition(".")[2] not in COUNTED
        and not is_of_pixels(place)
        and not is_of_a_judge(plain(place.address))
    }


def _is_of(match: Match, tensor: Tensor) -> bool:
    return any(same_tensor(place.tensor, tensor) for place in match.tensors.values())


def _is_noted(trunk: Trunk, place: Place, shapes: Mapping[str, Size]) -> bool:
    """Whether a module is worth a note: of the trunk's dictionary, or else one with maps.

    Or an adapter, or what may make images. Other dictionaries hold settings and statistics too.
    """
    if place.container == trunk.container:
        return any(shape.numel() > 1 for shape in shapes.values())
    if may_make_images(next(iter(shapes)), shapes):
        return True
    return any(len(shape) == 4 or is_of_an_adapter(name) for name, shape in shapes.items())


def _overlap(one: str, other: str) -> bool:
    """Whether one of two prefixes lies at or below the other."""
    return not other or f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _holds(root: str, trunk: Trunk) -> bool:
    """Whether a prefix is one above the trunk, and so no other network's alone."""
    return not root or f"{trunk.address}.".startswith(f"{root}.")

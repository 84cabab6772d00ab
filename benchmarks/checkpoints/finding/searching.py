"""Every trunk in a checkpoint file, however it is nested and wrapped.

The whole file is taken as one list of tensors by address: the keys that lead to a tensor and its
own name, joined by dots. A container is then nothing else than a prefix, as a wrapper is, and a
trunk is a prefix under which the tensors of an architecture are found.
"""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmarks.backbones.architectures import architectures
from benchmarks.checkpoints.finding.guessing import guess_architecture
from benchmarks.checkpoints.finding.matching import (
    Match,
    Place,
    dotted,
    match_tensors,
    own_names,
    plain,
    same_tensor,
)
from benchmarks.checkpoints.wording import shown
from slurm.errors import UserError

TOP = "top"  # the address of a trunk whose names have nothing before them
DEEPEST = 12  # dictionaries within dictionaries
MOST_DICTIONARIES = 100_000
# Hold no trunk; callbacks can, as averages of the weights do in Lightning's files.
_OPTIMIZERS = re.compile(
    r"(optims?|optimi[sz]ers?|opt|optimi[sz]ers?_(states?|dict|state_dict)|opt_state(_dict)?|"
    r"((lr|param)_)?schedulers?(_state(_dict)?)?|lr_schedulers|(grad_|loss_|amp_)?scaler|loops)$"
)

# What an unmistakable tensor of a family is called. One trunk has several, so that a trunk which
# lacks one of them is still found, and then refused for what it lacks.
_ROOTS = re.compile(
    r"(?P<own>layer[1-4]\.0\.conv1\.weight|features\.\d+\.weight|patch\.embed\.proj\.weight|"
    r"blocks\.\d+\.norm1\.weight)|"
    r"(?P<numbered>[4-7]\.0\.conv1\.weight)|"
    r"(?P<vissl_alexnet>(?<=feature\.blocks\.)[02456]\.0\.weight)"
)

# How else the names of a family are spelt: regular expressions and replacements, the first fits.
SPELLINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "own": (),
    # nn.Sequential(*list(resnet.children())[:-1]), common among Lightning modules.
    "numbered": (
        (r"^0\.", "conv1."),
        (r"^1\.", "bn1."),
        *((rf"^{stage + 3}\.", f"layer{stage}.") for stage in (1, 2, 3, 4)),
    ),
    # VISSL's AlexNet: block (0: conv1, 2: conv2, 4, 5, 6) and layer -> index in DeepCluster's.
    "vissl_alexnet": tuple(
        (rf"^{block}\.{layer}\.", f"features.{first + layer}.")
        for block, first in ((0, 0), (2, 4), (4, 8), (5, 11), (6, 14))
        for layer in (0, 1)
    ),
}


@dataclass(frozen=True)
class Trunk:
    """A trunk that a file holds, whole or damaged."""

    address: str  # what stands before its names, without technical wrappers
    container: str  # the keys that lead to the dictionary of its first tensor
    prefix: str  # dotted, of its tensors' addresses
    inside: Mapping[str, Place]  # by the name within the trunk, as the architecture spells it
    arch: str | None
    match: Match | None  # with the architecture, where it is known

    @property
    def whole(self) -> bool:
        """Whether every tensor of the architecture is there with its shape, and no other."""
        return self.match is not None and not self.match.problems

    @property
    def share(self) -> float:
        """How much of the architecture is there, 0..1."""
        return self.match.filled / self.match.expected if self.match else 0.0

    @property
    def tensors(self) -> Iterable[Place]:
        """Those of its architecture, or all below its prefix where that is not known."""
        return (self.inside if self.match is None else self.match.tensors).values()

    def __str__(self) -> str:
        """The address, and how much of the trunk is there."""
        if self.match is None:
            return f"{shown(self.address)} (of no known architecture)"
        some = "" if self.whole else f", {self.match.filled} of {self.match.expected} tensors"
        return f"{shown(self.address)} ({self.match.label}{some})"


def tensors_of(path: object, content: Mapping[Any, Any], drop: Iterable[str] = ()) -> list[Place]:
    """All tensors of a file that may be a trunk's, but for those whose names start with `drop`."""
    places: dict[str, Place] = {}
    visits = itertools.count(1)

    def walk(node: Mapping[Any, Any], keys: tuple[str, ...]) -> None:
        if len(keys) > DEEPEST:  # or dictionaries that hold themselves
            return
        if next(visits) > MOST_DICTIONARIES:
            raise UserError(f"{path} holds more than {MOST_DICTIONARIES} dictionaries")
        for key, value in node.items():
            name = str(key)
            if isinstance(value, list | tuple) and any(isinstance(x, Mapping) for x in value):
                value = {str(index): one for index, one in enumerate(value)}
            if isinstance(value, Mapping):
                if not is_optimizer(name):
                    walk(value, (*keys, name))
            elif isinstance(value, Tensor):
                address = ".".join((*keys, name))
                if address in places:
                    raise UserError(f"{path} holds two tensors {shown(address)}; extract one first")
                places[address] = Place(address, ".".join(keys), value)

    walk(content, ())
    for prefix in drop:
        unwanted = [p for p in places.values() if _starts(p, prefix)]
        if not unwanted:
            raise UserError(f"--drop {shown(prefix)}: {path} has no tensor whose name starts so")
        for place in unwanted:
            del places[place.address]
    return list(places.values())


def is_optimizer(key: str) -> bool:
    """Whether what lies under this key holds no trunk, however its tensors look."""
    return _OPTIMIZERS.match(key) is not None


def _starts(place: Place, prefix: str) -> bool:
    """Whether a prefix of --drop starts the address, or the name with or without wrappers."""
    name = place.address[len(place.container) + 1 if place.container else 0 :]
    return any(text.startswith(prefix) for text in (place.address, name, plain(name)))


def find_trunks(places: list[Place], *, arch: str | None, moco: bool = False) -> list[Trunk]:
    """The trunks of a file, in its order; those of `arch` alone where it is given.

    `moco` says that MoCo's code wrote the file; see `guess_architecture`.
    """
    names = {place.address: dotted(place.address) for place in places}
    roots = _roots_of(names.values(), arch) if arch else _known_roots(names.values())
    trunks = [_trunk(places, names, prefix, spelling, arch, moco) for prefix, spelling in roots]
    return _with_damaged(trunks, arch)


def _known_roots(names: Iterable[str]) -> list[tuple[str, str]]:
    """(prefix, spelling) of all that may be a trunk of a family whose names are known here."""
    roots: dict[tuple[str, str], None] = {}
    for name in names:
        for found in _ROOTS.finditer(name):
            if found.end() == len(name) and (not found.start() or name[found.start() - 1] == "."):
                roots[name[: found.start()], found.lastgroup or ""] = None
    return list(roots)


def _roots_of(names: Iterable[str], arch: str) -> list[tuple[str, str]]:
    """(prefix, spelling) under which most of the tensors of `arch` are; or the best there is."""
    own = own_names(arch)
    counts: Counter[tuple[str, str]] = Counter()
    for name in names:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in own:
                counts["".join(part + "." for part in parts[:start]), "own"] += 1
    for root in _known_roots(names):
        if root[1] != "own":
            counts[root] = len(own)
    most = [root for root, count in counts.items() if 2 * count >= len(own)]
    return most or [root for root, _ in counts.most_common(1)]


def _trunk(
    places: list[Place],
    names: Mapping[str, str],
    prefix: str,
    spelling: str,
    arch: str | None,
    moco: bool,
) -> Trunk:
    inside: dict[str, Place] = {}
    twice: list[str] = []
    address = container = None
    below = [(one, plain(one.address)) for one in places if names[one.address].startswith(prefix)]
    last = len(prefix) - 1
    if prefix and any(clean[last] == "." for _, clean in below):
        # Beside encoder.conv1, encoder_k.conv1 is no part of encoder.
        below = [(place, clean) for place, clean in below if clean[last] == "."]
    for place, clean in below:
        if address is None:
            address, container = clean[: len(prefix)].rstrip("._"), place.container
        inner = respelt(clean[len(prefix) :], SPELLINGS[spelling])
        if inner in inside and not same_tensor(inside[inner].tensor, place.tensor):
            twice.append(place.address)
        inside[inner] = place
    guess = guess_architecture(_shapes(inside), moco=moco)
    known = arch or (guess if guess in architectures() else None)
    match = match_tensors(inside, known, twice) if known else None
    return Trunk(address or TOP, container or "", prefix, inside, known, match)


def respelt(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """`name` as the architecture spells it: by the first rule that fits."""
    for pattern, replacement in rules:
        name, count = re.subn(pattern, replacement, name)
        if count:
            break
    return name


def _with_damaged(trunks: list[Trunk], arch: str | None) -> list[Trunk]:
    """`trunks` without what is only a part of a network, such as a decoder's blocks.

    A trunk of which most tensors are there is one, though its architecture could not be told: it
    is compared with those of the others.
    """
    known = sorted({trunk.arch for trunk in trunks if trunk.arch})
    found = [_compared(trunk, known) if trunk.match is None else trunk for trunk in trunks]
    most = [trunk for trunk in found if trunk.share >= 0.5]
    if arch and len(most) > 1:
        most = [trunk for trunk in most if trunk.whole or not _is_another(trunk, arch)]
    return most or sorted(found, key=lambda trunk: -trunk.share)[:1]


def _compared(trunk: Trunk, known: Iterable[str]) -> Trunk:
    """The trunk as that of the `known` architectures which it fits best."""
    matches = [match_tensors(trunk.inside, arch, []) for arch in known]
    best = max(matches, key=lambda match: match.filled / match.expected, default=None)
    if best is None:
        return trunk
    return dataclasses.replace(trunk, arch=best.arch, match=best)


def _is_another(trunk: Trunk, arch: str) -> bool:
    """Whether a trunk that is not wholly of `arch` is wholly of another architecture."""
    guess = guess_architecture(_shapes(trunk.inside))
    if guess is None or guess == arch or guess not in architectures():
        return False
    return not match_tensors(trunk.inside, guess, []).problems


def _shapes(inside: Mapping[str, Place]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(place.tensor.shape) for name, place in inside.items()}


def nearest_trunk(
    places: list[Place], likely: Callable[[Mapping[str, Place]], Iterable[str]]
) -> Trunk | None:
    """The trunk that comes nearest to one of its `likely` architectures, however little it has."""
    names = {place.address: dotted(place.address) for place in places}
    trunks = [
        _trunk(places, names, prefix, spelling, None, False)
        for prefix, spelling in _known_roots(names.values())
    ]
    compared = [_compared(trunk, likely(trunk.inside)) for trunk in trunks]
    return max(compared, key=lambda trunk: trunk.share, default=None)

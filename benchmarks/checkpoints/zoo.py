"""The checkpoints of a zoo: registered, found again by name, and loaded as frozen backbones.

A checkpoint of the zoo is two files: the trunk's tensors, and the card that says how to rebuild
the trunk and where it came from. The card is written last and holds the fingerprint of the
tensors, so whatever was interrupted, truncated or altered is noticed when it is loaded.
"""

import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import results
from benchmarks.backbones.architectures import check_architecture
from benchmarks.checkpoints import fit, placing
from benchmarks.checkpoints.cards import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Card,
    card_path,
    check_pixels,
    is_registered,
    read_card,
    registered_names,
    weights_of,
    weights_path,
)
from benchmarks.checkpoints.unregistered import file_card
from slurm.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.backbones.backbone import Backbone

RANDOM = "random:"  # --ckpt random:ARCH or random:sobel_ARCH
Triple = tuple[float, float, float]


def register(
    zoo: str | Path,
    name: str,
    state_dict: "Mapping[str, Tensor]",
    *,
    arch: str,
    sobel: bool,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    method: str | None = None,
    config: str | None = None,
    source: str | None = None,
    pretraining: dict[str, object] | None = None,
    notes: tuple[str, ...] = (),
    force: bool = False,
) -> Card:
    """Put a trunk into the zoo and return its card.

    `state_dict` is that of a `Backbone` (or of its trunk): no heads, no optimizer. Registering
    the same trunk again only brings the card up to date; another trunk under a taken name is a
    `UserError` unless `force`. Both files are replaced atomically, the card last.
    """
    from benchmarks.checkpoints.weights import fitted

    check_pixels(mean, std, f"checkpoint {name!r}")
    tensors = fitted(state_dict, arch=arch, sobel=sobel, what=f"checkpoint {name!r}")
    card = build_card(
        name,
        tensors,
        arch=arch,
        sobel=sobel,
        mean=mean,
        std=std,
        method=method,
        config=config,
        source=source,
        pretraining=pretraining or {},
        notes=notes,
    )
    return store(Path(zoo), card, tensors, force=force, keep=_keep_remarks)


def same_trunk(one: Card, other: Card) -> bool:
    """Whether two cards are of one network with the same weights."""
    return (one.weights, one.arch, one.sobel) == (other.weights, other.arch, other.sobel)


def _keep_remarks(old: Card, new: Card) -> Card:
    """The new card with the notes that the user added to this trunk's."""
    return msgspec.structs.replace(new, remarks=old.remarks) if same_trunk(old, new) else new


def build_card(name: str, tensors: "Mapping[str, Tensor]", **fields: Any) -> Card:
    """The card of a trunk's tensors; `fields` are those of `Card` beside name and weights."""
    from benchmarks.checkpoints.weights import fingerprint

    return Card(name=name, weights=fingerprint(tensors), **fields)


def store(
    zoo: Path,
    card: Card,
    tensors: "dict[str, Tensor]",
    *,
    force: bool = False,
    keep: Callable[[Card, Card], Card] = lambda old, new: new,
) -> Card:
    """Put a trunk and its card into the zoo, unless they are there already; see `register`.

    `keep` makes the card to write of the one that is there and the new one. Returns what was
    written.
    """
    from benchmarks.checkpoints.weights import encoded

    if card.name.startswith("random-"):
        raise UserError(f"the name {card.name!r} is kept for random trunks; choose another")
    folder = card_path(zoo, card.name).parent
    results.encode(card)  # before anything is written, since not all that a card is given is JSON
    while True:
        if not folder.exists() and placing.place_new(folder, card, encoded(tensors)):
            return card
        kept, there = _is_there(zoo, card, force, keep)
        if there:
            return kept
        with suppress(placing.Gone), placing.alone(folder):
            kept, there = _is_there(zoo, card, force, keep)  # while we waited
            if not there:
                _before_replacing(zoo, kept)
                whole = _is_whole(weights_of(zoo, kept), kept)
                placing.replace(folder, kept, None if whole else encoded(tensors))
            return kept


def _is_there(
    zoo: Path, card: Card, force: bool, keep: Callable[[Card, Card], Card]
) -> tuple[Card, bool]:
    """The card to write, and whether this very checkpoint is in place.

    `UserError` when another one must not be replaced.
    """
    try:
        old = find_card(zoo, card.name)
    except UserError:
        if force:  # which replaces a damaged card as well
            return card, False
        raise
    if old is None:
        return card, False
    card = keep(old, card)
    if not force and old.measured != card.measured:
        was, now = (f"{one.arch}, weights {one.weights[:12]}" for one in (old, card))
        if was == now:
            was, now = (f"std {one.std}, mean {one.mean}" for one in (old, card))
        raise UserError(
            f"{zoo} has another checkpoint {card.name!r} ({was}; these are {now}): choose another "
            "--name, replace it with --force, or take it away with python -m benchmarks.registry "
            f"remove {card.name} --zoo {shlex.quote(str(zoo))} and run the command again"
        )
    return card, old == card and _is_whole(weights_path(zoo, card.name), card)


def _before_replacing(zoo: Path, card: Card) -> None:
    """Let the records of another checkpoint say what they were measured with."""
    try:
        old = find_card(zoo, card.name)
    except UserError:  # a damaged card tells nothing
        return
    if old is not None and old.measured != card.measured:
        fit.state_pixels(zoo, old)


def find_card(zoo: Path, name: str) -> Card | None:
    """The card of a registered checkpoint, or None."""
    return read_card(zoo, name) if card_path(zoo, name).exists() else None


def resolve(zoo: Path, ckpt: str, seed: int = 0) -> Card:
    """The card of a registered name, of a checkpoint file, or of `random:ARCH`.

    `seed` is that of a random trunk's weights. Torch is imported for a file only. Raises
    `UserError` when there is no such checkpoint, or it cannot be read.
    """
    if ckpt.startswith(RANDOM):
        return _random_card(ckpt, seed)
    if is_registered(zoo, ckpt):
        return read_card(zoo, ckpt)
    if Path(ckpt).is_file():
        return file_card(zoo, Path(ckpt))[0]
    names = registered_names(zoo)
    known = f"registered: {', '.join(names[:20])}" if names else "nothing is registered"
    if "," in ckpt:
        raise UserError(
            f"no checkpoint {ckpt!r} in {zoo} ({known}): one is taken here; "
            f"python -m benchmarks --ckpt {ckpt} --suite quick takes several"
        )
    found = "that is a folder" if Path(ckpt).is_dir() else "no such file"
    raise UserError(
        f"no checkpoint {ckpt!r} in {zoo} ({known}), and {found}; add one with "
        "python -m benchmarks.registry add PATH --name NAME, or take random:ARCH"
    )


def load_backbone(zoo: str | Path, ckpt: str, seed: int = 0) -> "tuple[Backbone, Card]":
    """The trunk that `ckpt` names, frozen (see `Backbone.freeze`), on the CPU; and its card.

    Raises `UserError` when there is none, or its weights are not those of the card, or not of the
    card's architecture.
    """
    from benchmarks.backbones.backbone import build_backbone, weight_shapes
    from benchmarks.checkpoints.weights import fingerprint, fitted, read_weights

    zoo = Path(zoo)
    if not is_registered(zoo, ckpt) and not ckpt.startswith(RANDOM) and Path(ckpt).is_file():
        card, tensors = file_card(zoo, Path(ckpt))
    else:
        card = resolve(zoo, ckpt, seed)
        tensors = {} if ckpt.startswith(RANDOM) else read_weights(weights_of(zoo, card))
        if tensors and fingerprint(tensors) != card.weights:  # perhaps replaced between the two
            card = resolve(zoo, ckpt, seed)
            tensors = read_weights(weights_of(zoo, card))
    backbone = build_backbone(card.arch, sobel=card.sobel, seed=seed)
    if tensors:
        if fingerprint(tensors) != card.weights:
            raise UserError(
                f"{weights_path(zoo, ckpt)} does not hold the weights of its card: register "
                f"{ckpt!r} again with --force"
            )
        shapes = weight_shapes(card.arch, sobel=card.sobel)
        if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
            what = f"{weights_path(zoo, ckpt)}, by the architecture in its card,"
            tensors = fitted(tensors, arch=card.arch, sobel=card.sobel, what=what)
        backbone.trunk.load_state_dict(tensors)
    return backbone.freeze(), card


def _random_card(ckpt: str, seed: int) -> Card:
    label = ckpt.removeprefix(RANDOM)
    sobel = label.startswith("sobel_")
    arch = check_architecture(label.removeprefix("sobel_"))
    return Card(
        name=f"random-{label}",
        arch=arch,
        sobel=sobel,
        weights=f"{RANDOM}{arch}:{'sobel' if sobel else 'rgb'}:{seed}",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        method="random",
    )


def _is_whole(path: Path, card: Card) -> bool:
    """Whether the weights file is there and holds what the card says."""
    from benchmarks.checkpoints.weights import fingerprint, read_weights

    try:
        return fingerprint(read_weights(path)) == card.weights
    except UserError:
        return False

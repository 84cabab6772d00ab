"""Foreign checkpoints -> a trunk of ours, strictly: every tensor of the trunk maps, or nothing.

What stands beside the trunk (heads, momentum copies, optimizers) is left and said to be, unless it
may be on the way from the image to the features.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.backbones.architectures import architectures, check_architecture
from benchmarks.backbones.backbone import weight_shapes
from benchmarks.backbones.sobel import sobel_kernels
from benchmarks.checkpoints.assumptions import assumed
from benchmarks.checkpoints.cards import IMAGENET_MEAN, Card, check_pixels, read_card_file
from benchmarks.checkpoints.file_format import Format
from benchmarks.checkpoints.files import read_file
from benchmarks.checkpoints.finding.below import places_below, prefix_note, trunks_at
from benchmarks.checkpoints.finding.beside import DROP_HINT, check_beside, left_out, look_beside
from benchmarks.checkpoints.finding.choosing import UNKNOWN, choose_trunk, common_format, recognise
from benchmarks.checkpoints.finding.matching import Match, Place
from benchmarks.checkpoints.finding.searching import Trunk, find_trunks, tensors_of
from benchmarks.checkpoints.finding.strangers import check_strangers, other_networks, strangers_note
from benchmarks.checkpoints.finding.surroundings import (
    check_dilation,
    module_notes,
    nameless_notes,
    pixel_notes,
)
from benchmarks.checkpoints.finding.timm_files import Pixels, named_architecture, said_pixels
from benchmarks.checkpoints.finding.unknown import explain_unknown
from benchmarks.checkpoints.openmmlab.network import NetworkConfig, network_config
from benchmarks.checkpoints.vit.names import with_timm_names
from benchmarks.checkpoints.weights import COUNTER, fingerprint, fitted, is_overflown_counter
from benchmarks.checkpoints.wording import shown
from slurm.errors import UserError

SOBEL = re.compile(r"(?:.*\.)?sobel(?:_layer\.sobel)?\.(0|1)\.(weight|bias)")


@dataclass(frozen=True)
class Imported:
    """A trunk that was found in a file."""

    tensors: dict[str, Tensor]  # by the trunk's own names
    arch: str
    sobel: bool
    format: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    matched: int  # tensors of the trunk that the file holds
    assumed: tuple[str, ...]  # counters of batch norm that the file lacks, set to zero
    dropped: dict[str, int]  # what was left out: module -> number of tensors
    notes: tuple[str, ...]
    trunks: tuple[str, ...] = ()  # all that the file holds: address (architecture)


def read_checkpoint(
    path: Path,
    *,
    arch: str | None = None,
    format: str = "auto",
    sobel: str = "auto",
    which: str | None = None,
    drop: Sequence[str] = (),
    prefix: str | None = None,
) -> Imported:
    """The trunk in a checkpoint file of any known format.

    `arch` is needed where names and shapes do not tell it. `sobel` (auto, yes, no) is only a
    demand: whether there is a Sobel stem follows from the channels of the first convolution.
    `which` is the address of one of several trunks, or a part of it; tensors whose names start
    with a prefix in `drop` are left out. With `prefix` the trunk begins exactly below it. Raises
    `UserError` for an unknown format or architecture, when nothing says which of several trunks is
    meant, when a tensor of the trunk is missing, unexpected or of another shape, and when a module
    beside it may be on the way from the image to its features; it lists them.
    """
    options: dict[str, Any] = {"arch": arch, "format": format, "sobel": sobel}
    content = with_timm_names(read_file(path))
    return read_content(path, content, which=which, drop=drop, prefix=prefix, **options)


def read_content(
    path: Path,
    content: dict[str, Any],
    *,
    arch: str | None = None,
    format: str = "auto",
    sobel: str = "auto",
    which: str | None = None,
    drop: Sequence[str] = (),
    prefix: str | None = None,
) -> Imported:
    """The trunk in what a file at `path` held; see `read_checkpoint`."""
    places = tensors_of(path, content, drop)
    writer = recognise(path, [str(key) for key in content], places, format)
    card = _card_beside(path)
    arch = arch or (card.arch if card else None)
    if arch:
        check_architecture(arch)
    said = named_architecture(content)
    trunks = _trunks(places, arch, said, writer)
    if prefix is None:
        if not trunks:
            raise explain_unknown(path, content, places)
        trunk, choice = choose_trunk(path, trunks, writer, which)
    else:
        below = places_below(path, places, prefix)
        inner = [place for found in below.values() for place in found]
        there = _trunks(inner, arch, said, writer)
        if not there:
            raise explain_unknown(path, content, inner)
        there = trunks_at(path, there, set(below), prefix)
        trunk, choice = choose_trunk(path, there, UNKNOWN, which)
        choice = (*choice, prefix_note(trunk, trunks, prefix))
    chosen = writer is not UNKNOWN or any(x is not None for x in (arch, which, prefix))
    writer = common_format(trunk) if writer is UNKNOWN else writer
    match = _checked(path, trunk, writer, sobel)
    strangers = other_networks(trunks, places)
    if not chosen:
        check_strangers(path, trunk, strangers)
    sobel_filters = [place for place in places if SOBEL.fullmatch(place.address)]
    _check_sobel(path, match, sobel_filters, trunk)
    check_dilation(path, trunk, tensors_of(path, content, ()))
    around = look_beside(trunk, trunks, strangers, places)
    check_beside(path, trunk, around)
    config = network_config(path, content, match.arch, match.first, sobel=match.sobel)
    shapes = weight_shapes(config.arch, sobel=match.sobel)
    tensors = {
        name: place.tensor
        for name, place in match.tensors.items()
        if not is_overflown_counter(name, place.tensor)
    }
    fits = fitted(
        config.in_rgb(tensors),
        arch=config.arch,
        sobel=match.sobel,
        what=f"{path} (format {writer.name})",
    )
    zeroed = tuple(name for name in shapes if name.endswith(COUNTER) and name not in tensors)
    if card and fingerprint(fits) != card.weights:
        raise UserError(
            f"{path} does not hold the weights of the card beside it: register it again, or move "
            "it out of that folder"
        )
    pixels = said_pixels(content, config.arch)
    mean, std = (card.mean, card.std) if card else _pixels(config, pixels, writer)
    check_pixels(mean, std, str(path))
    beside = [*pixel_notes(trunk, places), *nameless_notes(content), *module_notes(match, around)]
    if match.sobel and not sobel_filters:
        beside.append("its first convolution takes 2 channels: DeepCluster's Sobel was assumed")
    if said in architectures() and said != config.arch:
        beside.append(f"the file names the architecture {shown(said)}, not {config.arch}")
    left = [f"left out by --drop {shown(', '.join(drop))}"] if drop else []
    assumptions = assumed(config, pixels, writer, guessed=arch is None)
    notes = (*writer.notes, *choice, *strangers_note(strangers), *config.notes, *assumptions)
    notes = (*notes, *beside, *left)
    return Imported(
        tensors=fits,
        arch=config.arch,
        sobel=match.sobel,
        format=writer.name,
        mean=mean,
        std=std,
        matched=len(fits) - len(zeroed),
        assumed=zeroed,
        dropped=left_out(trunk, places),
        notes=card.all_notes if card else notes,
        trunks=tuple(str(trunk) for trunk in trunks),
    )


def _trunks(places: list[Place], arch: str | None, said: str | None, writer: Format) -> list[Trunk]:
    """The trunks of a file: of the architecture it `said` if they fill it, else by their shapes."""
    v3 = writer.name == "moco" and any("base_encoder." in place.address for place in places)
    moco = v3 or said == "vit_small"
    trunks = find_trunks(places, arch=arch, moco=moco)
    known = [trunk for trunk in trunks if trunk.match]
    guessed = {trunk.match.arch for trunk in known if trunk.match}
    if arch is None and said in architectures() and said not in guessed:
        # Networks can share all tensors (resnetblur50 and resnet50): the file knows which it is.
        named = [trunk for trunk in find_trunks(places, arch=said) if trunk.whole]
        if len(named) >= len(known):
            return named
    return known


def _checked(path: Path, trunk: Trunk, writer: Format, sobel: str) -> Match:
    """The trunk's tensors; `UserError` unless they are whole and the stem is as demanded."""
    match = trunk.match
    assert match is not None
    if match.channels not in (2, 3):
        raise UserError(
            f"{path}: {shown(match.stem)} takes {match.channels} channels; a trunk takes 3, or 2 "
            "by Sobel"
        )
    if sobel not in ("auto", "yes" if match.sobel else "no"):
        raise UserError(
            f"--sobel {sobel}: {path} has a first convolution of {match.channels} channels"
        )
    if match.problems:
        where = "" if trunk.address == "top" else f", trunk {shown(trunk.address)}"
        raise UserError(
            f"{path} (format {writer.name}{where}) is no {match.label}: {match.filled} of "
            f"{match.expected} keys match; {match.problems}{DROP_HINT if match.only_beside else ''}"
        )
    return match


def _beside(place: Place, trunk: Trunk) -> bool:
    return place.container == trunk.container


def _check_sobel(path: Path, match: Match, constants: list[Place], trunk: Trunk) -> None:
    """The file's Sobel filters, where it has them, must be ours."""
    if any(_beside(place, trunk) for place in constants) and not match.sobel:
        raise UserError(
            f"{path} holds Sobel filters, but {shown(match.stem)} takes {match.channels} channels"
        )
    ours = {
        "0.weight": torch.full((1, 3, 1, 1), 1 / 3),
        "0.bias": torch.zeros(1),
        "1.weight": sobel_kernels(),
        "1.bias": torch.zeros(2),
    }
    for place in constants if match.sobel else ():
        expected = ours[".".join(place.address.split(".")[-2:])]
        given = place.tensor.float()
        if given.shape != expected.shape or not torch.allclose(given, expected, atol=1e-6):
            raise UserError(
                f"{path}: {shown(place.address)} is not the Sobel filter of DeepCluster (grey is a "
                "third of each channel; left minus right, top minus bottom), so its features would "
                "be wrong here"
            )


def _pixels(
    config: NetworkConfig, said: Pixels | None, writer: Format
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    if said is not None and config.mean is None:
        return said.mean, said.std
    return config.mean or IMAGENET_MEAN, config.std or writer.std


def _card_beside(path: Path) -> Card | None:
    """The card of a weights file that lies in a zoo."""
    card = path.with_name("card.json")
    if path.name != "weights.safetensors" or not card.exists():
        return None
    return read_card_file(card)

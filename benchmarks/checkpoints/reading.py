"""Foreign checkpoints -> a trunk of ours, strictly: every tensor of the trunk maps, or nothing.

What stands beside the trunk (heads, momentum copies, optimizers) is dropped and said to be.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import results
from benchmarks.backbones.architectures import architectures, check_architecture
from benchmarks.backbones.backbone import network_names, weight_shapes
from benchmarks.backbones.sobel import sobel_kernels
from benchmarks.checkpoints.cards import IMAGENET_MEAN, Card
from benchmarks.checkpoints.files import read_file
from benchmarks.checkpoints.formats import HEADS, LAYOUTS, SOBEL, Layout
from benchmarks.checkpoints.guessing import guess_architecture
from benchmarks.checkpoints.vit.names import with_timm_names
from benchmarks.checkpoints.weights import COUNTER, fitted, shorten
from slurm.cli import choose
from slurm.errors import UserError


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
    assumed: tuple[str, ...]  # counters of batch norm that old files lack, set to zero
    dropped: dict[str, int]  # what was left out: first part of the name -> number of tensors
    notes: tuple[str, ...]


def read_checkpoint(
    path: Path, *, arch: str | None = None, format: str = "auto", sobel: str = "auto"
) -> Imported:
    """The trunk in a checkpoint file of any known layout.

    `arch` is needed where names and shapes do not tell it. `sobel` (auto, yes, no) is only a
    demand: whether there is a Sobel stem follows from the channels of the first convolution.
    Raises `UserError` for an unknown layout or architecture, and when a tensor of the trunk is
    missing, unexpected or of another shape; it lists them.
    """
    if format != "auto":
        choose(format, [layout.name for layout in LAYOUTS], "checkpoint format")
    content = with_timm_names(read_file(path))
    layout, found = _recognise(path, content, format)
    inside, dropped = _split(path, layout, found)
    sobel_names = {name for name in found if re.fullmatch(SOBEL, name)}
    card = _card_beside(path)
    known_arch = content.get("arch")
    arch = arch or (card.arch if card else None)
    arch = arch or guess_architecture(
        {name: tuple(t.shape) for name, t in inside.items()},
        moco=layout.name == "moco" or known_arch == "vit_small",
    )
    if arch is None and isinstance(known_arch, str) and known_arch in architectures():
        arch = known_arch
    if arch is None:
        names = shorten(list(inside))
        raise UserError(f"{path}: cannot tell the architecture; give --arch (its tensors: {names})")
    check_architecture(arch)
    has_sobel = _has_sobel(path, inside, arch, sobel, bool(sobel_names))
    _check_sobel(path, {name: found[name] for name in sobel_names})
    tensors, heads = _own_names(inside, arch, has_sobel)
    shapes = weight_shapes(arch, sobel=has_sobel)
    assumed = tuple(name for name in shapes if name.endswith(COUNTER) and name not in tensors)
    fits = fitted(tensors, arch=arch, sobel=has_sobel, what=f"{path} (format {layout.name})")
    return Imported(
        tensors=fits,
        arch=arch,
        sobel=has_sobel,
        format=layout.name,
        mean=card.mean if card else IMAGENET_MEAN,
        std=card.std if card else layout.std,
        matched=len(fits) - len(assumed),
        assumed=assumed,
        dropped=_count_first_parts([*dropped, *heads]),
        notes=card.notes if card else layout.notes,
    )


def _recognise(
    path: Path, content: dict[str, Any], format: str
) -> tuple[Layout, dict[str, Tensor]]:
    """The first layout that fits, and the state dict where it says."""
    for layout in LAYOUTS:
        if layout.name != format and not (format == "auto" and layout.auto):
            continue
        if any(key not in content for key in layout.beside):
            continue
        for keys in layout.paths:
            tensors = _tensors_at(content, keys)
            if tensors and all(_matches(mark, tensors) for mark in layout.marks):
                return layout, tensors
    top = ", ".join(str(key) for key in list(content)[:8])
    asked = "is of no known layout" if format == "auto" else f"is not of format {format!r}"
    raise UserError(
        f"{path} {asked} (at its top: {top}); save the trunk's state dict alone, or choose a "
        f"--format from {', '.join(layout.name for layout in LAYOUTS)}"
    )


def _tensors_at(content: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Tensor]:
    node: Any = content
    for key in keys:
        if not isinstance(node, dict) or key not in node:
            return {}
        node = node[key]
    if not isinstance(node, dict):
        return {}
    return {str(name): value for name, value in node.items() if isinstance(value, Tensor)}


def _matches(pattern: str, names: dict[str, Tensor]) -> bool:
    return any(re.match(pattern, name) for name in names)


def _split(
    path: Path, layout: Layout, found: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors within the layout's prefix, renamed; and the names of those outside."""
    inside: dict[str, Tensor] = {}
    outside: list[str] = []
    for name, tensor in found.items():
        match = re.match(layout.prefix, name)
        if match is None:
            outside.append(name)
            continue
        inner = _renamed(name[match.end() :], layout)
        if inner in inside and not torch.equal(inside[inner], tensor):
            raise UserError(f"{path} holds two different tensors {inner}; extract one trunk first")
        inside[inner] = tensor
    for name in outside if layout.copies else ():
        match = re.match(layout.copies or "", name)
        inner = _renamed(name[match.end() :], layout) if match else ""
        if inner in inside and not torch.equal(inside[inner], found[name]):
            raise UserError(
                f"{path}: {name} differs from the tensor of the backbone that it should be a copy "
                "of; extract one trunk first"
            )
    return inside, outside


def _renamed(name: str, layout: Layout) -> str:
    for pattern, replacement in layout.rename:
        name, count = re.subn(pattern, replacement, name)
        if count:
            break
    return name


def _own_names(
    inside: dict[str, Tensor], arch: str, sobel: bool
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by the trunk's own names (unknown names stay), and the names of the heads."""
    own = {_canonical(name): name for name in weight_shapes(arch, sobel=sobel)}
    heads_of_arch = {_canonical(name) for name in network_names(arch)}
    tensors: dict[str, Tensor] = {}
    heads: list[str] = []
    for name, tensor in inside.items():
        if _canonical(name) in own:
            tensors[own[_canonical(name)]] = tensor
        elif re.match(HEADS, name) or _canonical(name) in heads_of_arch:
            heads.append(name)
        else:
            tensors[name] = tensor
    return tensors, heads


def _canonical(name: str) -> str:
    """timm's feature nets write features_0 for features.0, and model. before transformers."""
    return name.removeprefix("model.").replace("_", ".")


def _has_sobel(
    path: Path, inside: dict[str, Tensor], arch: str, asked: str, constants: bool
) -> bool:
    """Whether a Sobel stem feeds the trunk: its first convolution then takes two channels."""
    own = weight_shapes(arch, sobel=False)
    first = next((name for name, shape in own.items() if len(shape) == 4), "")
    tensors = {_canonical(name): tensor for name, tensor in inside.items()}
    convolution = tensors.get(_canonical(first))
    channels = own[first][1] if convolution is None else convolution.shape[1]
    if channels not in (2, 3):
        raise UserError(
            f"{path}: {first} takes {channels} channels; a trunk takes 3, or 2 by Sobel"
        )
    sobel = channels == 2
    if constants and not sobel:
        raise UserError(f"{path} holds Sobel filters, but {first} takes 3 channels")
    if asked not in ("auto", "yes" if sobel else "no"):
        raise UserError(f"--sobel {asked}: {path} has a first convolution of {channels} channels")
    return sobel


def _check_sobel(path: Path, constants: dict[str, Tensor]) -> None:
    """The file's Sobel filters, where it has them, must be ours."""
    ours = {
        "0.weight": torch.full((1, 3, 1, 1), 1 / 3),
        "0.bias": torch.zeros(1),
        "1.weight": sobel_kernels(),
        "1.bias": torch.zeros(2),
    }
    for name, tensor in constants.items():
        expected = ours[".".join(name.split(".")[-2:])]
        given = tensor.float()
        if given.shape != expected.shape or not torch.allclose(given, expected, atol=1e-6):
            raise UserError(
                f"{path}: {name} is not the Sobel filter of DeepCluster (grey is a third of each "
                "channel; left minus right, top minus bottom), so its features would be wrong here"
            )


def _card_beside(path: Path) -> Card | None:
    """The card of a weights file that lies in a zoo."""
    card = path.with_name("card.json")
    if path.name != "weights.safetensors" or not card.exists():
        return None
    return results.read(card, Card)


def _count_first_parts(names: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        first = ".".join(parts[:2]) if parts[0] == "module" else parts[0]
        counts[first] = counts.get(first, 0) + 1
    return counts

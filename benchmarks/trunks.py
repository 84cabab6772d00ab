"""Which frozen trunk a benchmark measures; light, so that planning needs no torch."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.flags.trunk import precision_from
from benchmarks.results import Checkpoint
from slurm.errors import UserError

if TYPE_CHECKING:
    from benchmarks.backbones.backbone import Backbone


@dataclass(frozen=True)
class Trunk:
    """A checkpoint of a zoo and where its forward passes run."""

    zoo: Path
    ckpt: str  # a registered name, a path to a checkpoint file, or random:ARCH
    checkpoint: Checkpoint
    seed: int = 0
    device: str = "auto"
    workers: int = 0  # processes that decode images, per process that trains
    precision: str = ""  # of the forward pass, see flags.trunk; empty: the device's own
    mean: tuple[float, ...] = ()  # of the pixels, from the card
    std: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()  # of the card, for the records of what it measures
    decode: str = "pil"  # one of flags.trunk.DECODERS
    check_images: bool = False  # decode the data once before they are measured on

    def inputs(self) -> tuple[object, ...]:
        """All that the features of an image depend on, for a cache key or a result's name."""
        checkpoint = self.checkpoint
        trunk = (checkpoint.weights, checkpoint.arch, checkpoint.sobel)
        # As it stood in keys before there was a choice: False for a device's own, True for amp.
        computed = {"": False, "tf32": False, "amp": True}.get(self.precision, self.precision)
        decoded = ("decode fast",) if self.fast else ()
        return (*trunk, self.mean, self.std, computed, *decoded)

    @property
    def fast(self) -> bool:
        """Whether images are decoded and resized by torchvision, which leads to other pixels."""
        return self.decode == "fast"


def find_trunk(args: argparse.Namespace, ckpt: str | None = None) -> Trunk:
    """The trunk that `--ckpt` (or `ckpt`) names; `UserError` when there is none."""
    from benchmarks.checkpoints.fit import checkpoint_of
    from benchmarks.checkpoints.zoo import resolve

    name = ckpt or args.ckpt
    card = resolve(args.zoo, name, args.seed)
    return Trunk(
        zoo=args.zoo,
        ckpt=name,
        checkpoint=checkpoint_of(card),
        seed=args.seed,
        device=args.device,
        workers=args.workers,
        precision=precision_from(args),
        decode=args.decode,
        mean=card.mean,
        std=card.std,
        notes=card.all_notes,
        check_images=args.check_images,
    )


def load_trunk(trunk: Trunk) -> "Backbone":
    """The backbone, frozen, on the CPU; `UserError` unless it is the one that was planned.

    What is written with it is named after the plan, and hours can lie between the two.
    """
    from benchmarks.checkpoints.zoo import load_backbone

    backbone, card = load_backbone(trunk.zoo, trunk.ckpt, trunk.seed)
    planned = trunk.checkpoint
    found = (card.weights, card.arch, card.sobel, card.mean, card.std)
    if found != (planned.weights, planned.arch, planned.sobel, trunk.mean, trunk.std):
        raise UserError(
            f"the checkpoint {trunk.ckpt} was replaced after this run was planned (weights "
            f"{planned.weights[:12]} then, {card.weights[:12]} now): run the command again"
        )
    return backbone

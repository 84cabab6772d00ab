"""Which frozen trunk a benchmark measures; light, so that planning needs no torch."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Checkpoint
from slurm.cli import natural
from slurm.errors import UserError

if TYPE_CHECKING:
    from benchmarks.backbones.backbone import Backbone

PRECISIONS = ("fp32", "tf32", "amp")
DECODERS = ("pil", "fast")


@dataclass(frozen=True)
class Trunk:
    """A checkpoint of a zoo and where its forward passes run."""

    zoo: Path
    ckpt: str  # a registered name, a path to a checkpoint file, or random:ARCH
    checkpoint: Checkpoint
    seed: int = 0
    device: str = "auto"
    workers: int = 0  # processes that decode images, per process that trains
    precision: str = ""  # one of PRECISIONS for the forward pass; empty: the device's own
    mean: tuple[float, ...] = ()  # of the pixels, from the card
    std: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()  # of the card, for the records of what it measures
    decode: str = "pil"  # one of DECODERS
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


def add_trunk_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name a trunk and how its forward pass runs."""
    parser.add_argument(
        "--ckpt",
        required=True,
        help="a registered name, a checkpoint file, or random:ARCH (random:sobel_ARCH)",
    )
    add_forward_flags(parser)


def add_forward_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how images reach the trunk and how it computes."""
    add_workers_flag(parser)
    add_precision_flags(parser)
    parser.add_argument(
        "--decode",
        choices=DECODERS,
        default="pil",
        help="pil, as the published figures; or fast, torchvision's decoder and resize of 8 bits, "
        "up to 2 grey levels away and never in one table with the other (default: pil)",
    )
    add_check_flag(parser)


def add_check_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--check-images`."""
    parser.add_argument(
        "--check-images",
        action="store_true",
        help="first decode every image once (a dataset is checked once a zoo): those that cannot "
        "be decoded end the run, those of which libjpeg warns are counted in the records. The "
        "fingerprint in a record sees names, labels and the sizes of some files, never contents",
    )


def add_precision_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--precision` and its short form `--amp`."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the network: fp32, tf32 (torch's way on GPUs: convolutions in TF32, the rest in "
        "fp32) or amp (half precision where torch's autocast takes it); recorded (default: tf32 "
        "on GPUs, fp32 on the CPU)",
    )
    parser.add_argument("--amp", action="store_true", help="the same as --precision amp")


def precision_from(args: argparse.Namespace) -> str:
    """What the two flags ask for; empty for what the device does by itself."""
    if args.amp and args.precision not in (None, "amp"):
        raise UserError(f"--amp and --precision {args.precision} are both given: leave one out")
    wanted = "amp" if args.amp else args.precision or ""
    if args.device == "cpu" and wanted == "tf32":
        raise UserError("--precision tf32 is of GPUs: leave it out, or choose another --device")
    return "" if args.device == "cpu" and wanted == "fp32" else wanted


def add_workers_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`."""
    parser.add_argument(
        "--workers",
        type=natural,
        default=min(8, (os.cpu_count() or 1) // 2),
        metavar="N",
        help="processes that decode images, per training process (default: half the cores, "
        "at most 8; the result does not depend on it)",
    )


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

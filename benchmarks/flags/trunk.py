"""Which trunk, how images reach it, and how it computes."""

import argparse
import os

from slurm.cli import natural
from slurm.errors import UserError

PRECISIONS = ("fp32", "tf32", "amp")
DECODERS = ("pil", "fast")


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
        help="pil, as the published figures; or fast, simplejpeg and torchvision's resize of 8 "
        "bits, up to 2 grey levels away and never in one table with the other (default: pil)",
    )
    add_check_flag(parser)


def add_check_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--check-images`."""
    parser.add_argument(
        "--check-images",
        action="store_true",
        help="first decode every image once (a dataset is checked once a zoo): those that cannot "
        "be decoded end the run, those of which libjpeg warns are counted in the records. The "
        "fingerprint in a record sees names, labels and the sizes of some files (of files without "
        "compression some content too), not the rest of them",
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

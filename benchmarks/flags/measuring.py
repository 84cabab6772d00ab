"""On which data, with which other numbers, and whether to measure at all."""

import argparse
from pathlib import Path

from slurm.cli import positive

SECONDS = 20  # of rehearsing an item


def folder_flag(text: str) -> Path:
    """An argparse type: the path of a folder, which an empty text is not."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty: name a folder")
    return Path(text)


def add_own_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--own`."""
    parser.add_argument(
        "--own",
        metavar="NAME",
        help="--data is a folder of your own data: train/CLASS/ and val/CLASS/ for linear probes, "
        "VOC2007's layout for the SVMs; the figures stand in a table of this name, beside no "
        "published one",
    )


def add_set_flags(
    parser: argparse.ArgumentParser,
    *,
    epochs: bool = True,
    example: str = "learning_rate=0.03 or test.resize=300",
) -> None:
    """Add `--set`, and `--epochs` where there are any; `example` is of this command's fields."""
    if epochs:
        parser.add_argument(
            "--epochs",
            type=positive,
            metavar="N",
            help="of linear probes, instead of the protocol's (recorded as the variant custom)",
        )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help=f"another number than the protocol's, as in {example}; may be repeated; recorded as "
        "the variant custom, in tables of its own",
    )


def add_feature_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--feature`."""
    parser.add_argument(
        "--feature",
        metavar="NAME",
        help="of the trunk: avgpool, the mean of its last map (default); feature1..feature5, the "
        "mean of another map; or cls, the class token of a vision transformer. Others than "
        "avgpool are the variant custom",
    )


def add_rehearse_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--rehearse`."""
    parser.add_argument(
        "--rehearse",
        nargs="?",
        type=positive,
        const=SECONDS,
        metavar="SECONDS",
        help="run nothing: do some steps of each item on the real data, and say what all will "
        f"cost: hours, memory, disk, images/s, the SLURM request that fits (default: {SECONDS} "
        "seconds an item)",
    )

"""Weighted k-NN on the average-pooled features of a frozen trunk: an answer in minutes.

python -m benchmarks.knn --ckpt NAME --data DIR

DIR is of ImageNet's layout. The features of train and val are extracted once, into the zoo's cache
(python -m benchmarks.features list|remove), which python -m benchmarks.logreg reads too.
"""

import argparse
from dataclasses import replace

from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.flags.measuring import (
    add_feature_flag,
    add_own_flag,
    add_rehearse_flag,
    add_set_flags,
    folder_flag,
)
from benchmarks.flags.trunk import add_trunk_flags
from benchmarks.protocols import KnnProtocol
from slurm.cli import Parser, add_common_flags, choose, positive, run_command

KNN_PROTOCOLS = {name: one for name, one in PROTOCOLS.items() if isinstance(one, KnnProtocol)}


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m benchmarks.knn", description=__doc__ or "")
    parser.add_argument(
        "--data", required=True, type=folder_flag, metavar="DIR", help="train/, val/, perhaps meta/"
    )
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help=f"one of {', '.join(KNN_PROTOCOLS)} (default: the first, or the second where DIR "
        "holds the embedded digits)",
    )
    parser.add_argument(
        "--k",
        type=_ks,
        metavar="K[,K]",
        help="neighbours that vote (default: 10,20,100,200; others are the variant custom)",
    )
    add_feature_flag(parser)
    add_own_flag(parser)
    add_set_flags(parser, epochs=False)
    add_trunk_flags(parser)
    add_rehearse_flag(parser)
    add_common_flags(parser)
    args: argparse.Namespace = parser.parse_args(argv)

    from benchmarks.catalog.further.imagenet_knn import DIGITS_KNN, IMAGENET_KNN
    from benchmarks.catalog.own import on_own_data
    from benchmarks.commands import finish_command
    from benchmarks.datasets.loading import holds_digits
    from benchmarks.knn.item import knn_item
    from benchmarks.overrides import CUSTOM, check_set_once, custom
    from benchmarks.trunks import find_trunk

    protocol = DIGITS_KNN if holds_digits(args.data) else IMAGENET_KNN
    if args.protocol is not None:
        protocol = KNN_PROTOCOLS[choose(args.protocol, KNN_PROTOCOLS, "k-NN protocol")]
    (protocol,) = custom([on_own_data(protocol, args.own)], args)
    flags = {"ks": args.k, "feature": args.feature}
    given = {name: value for name, value in flags.items() if value is not None}
    check_set_once(args.set, {name: f"--{name.removesuffix('s')}" for name in given})
    changed = replace(protocol, **given)
    if changed != protocol:
        protocol = replace(changed, variant=CUSTOM)
    finish_command(args, [knn_item(find_trunk(args), args.data, protocol)])


def _ks(text: str) -> tuple[int, ...]:
    """Whole numbers between commas, ascending, each once."""
    found = sorted({positive(part.strip()) for part in text.split(",") if part.strip()})
    if not found:
        raise argparse.ArgumentTypeError("names no number: write such as 10,20")
    return tuple(found)


if __name__ == "__main__":
    run_command(main)

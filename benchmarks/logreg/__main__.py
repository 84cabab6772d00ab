"""Multinomial logistic regression on the average-pooled features of a frozen trunk.

python -m benchmarks.logreg --ckpt NAME --data DIR

DIR is of ImageNet's layout. Every cost C of a path is fitted to its minimum, the best is chosen on
a tenth of train that is held out, and the fit on all of train is reported on val; with few labels a
class, too. Features are cached as by python -m benchmarks.knn.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.flags.measuring import (
    add_feature_flag,
    add_own_flag,
    add_rehearse_flag,
    add_set_flags,
    folder_flag,
)
from benchmarks.flags.trunk import add_trunk_flags
from benchmarks.protocols import LogregProtocol
from slurm.cli import Parser, add_common_flags, choose, positive, run_command

LOGREG_PROTOCOLS = {name: one for name, one in PROTOCOLS.items() if isinstance(one, LogregProtocol)}


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m benchmarks.logreg", description=__doc__ or "")
    parser.add_argument(
        "--data", required=True, type=folder_flag, metavar="DIR", help="train/, val/, perhaps meta/"
    )
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help=f"one of {', '.join(LOGREG_PROTOCOLS)} (default: the first, or the second where DIR "
        "holds the embedded digits)",
    )
    parser.add_argument(
        "--costs",
        type=_numbers(float),
        metavar="C[,C]",
        help="the path of C (default: the protocol's; others are the variant custom)",
    )
    parser.add_argument(
        "--shots",
        type=_numbers(positive),
        metavar="K[,K]",
        help="labels of each class in few-label rows; none: no such rows (default: 1,2,5,10)",
    )
    parser.add_argument(
        "--fraction",
        type=_numbers(float),
        metavar="P[,P]",
        help="of the labels, in few-label rows; none: no such rows (default: 0.01,0.1). Lists "
        "meta/train_1percent.txt and train_10percent.txt in DIR are used where they are",
    )
    add_feature_flag(parser)
    add_own_flag(parser)
    add_set_flags(parser, epochs=False)
    add_trunk_flags(parser)
    add_rehearse_flag(parser)
    add_common_flags(parser)
    args: argparse.Namespace = parser.parse_args(argv)

    from benchmarks.catalog.further.imagenet_logreg import DIGITS_LOGREG, IMAGENET_LOGREG
    from benchmarks.catalog.own import on_own_data
    from benchmarks.commands import finish_command
    from benchmarks.datasets.loading import holds_digits
    from benchmarks.logreg.item import logreg_item
    from benchmarks.overrides import CUSTOM, check_set_once, custom
    from benchmarks.trunks import find_trunk

    protocol = DIGITS_LOGREG if holds_digits(args.data) else IMAGENET_LOGREG
    if args.protocol is not None:
        protocol = LOGREG_PROTOCOLS[choose(args.protocol, LOGREG_PROTOCOLS, "logreg protocol")]
    (protocol,) = custom([on_own_data(protocol, args.own)], args)
    flags = {"costs": args.costs, "per_class": args.shots, "fractions": args.fraction}
    flags["feature"] = args.feature
    given = {name: value for name, value in flags.items() if value is not None}
    called = {"per_class": "shots", "fractions": "fraction"}
    check_set_once(args.set, {name: f"--{called.get(name, name)}" for name in given})
    changed = replace(protocol, **given)
    if changed != protocol:
        protocol = replace(changed, variant=CUSTOM)
    finish_command(args, [logreg_item(find_trunk(args), args.data, protocol)])


def _numbers(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """An argparse type: numbers between commas, ascending, each once; `none` is no number."""

    def read(text: str) -> tuple[Any, ...]:
        if text.strip() == "none":
            return ()
        found = sorted({kind(part.strip()) for part in text.split(",") if part.strip()})
        if not found:
            raise argparse.ArgumentTypeError("names no number: write such as 1,2,5")
        return tuple(found)

    read.__name__ = "list of numbers"
    return read


if __name__ == "__main__":
    run_command(main)

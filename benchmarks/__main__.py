"""Every benchmark of a suite for one or many checkpoints.

python -m benchmarks --ckpt NAME[,NAME] --suite model-zoo --data DIR
python -m benchmarks protocols [NAME]      # a line a protocol, or every number of one

DIR holds imagenet/, places205/, inaturalist2018/ and VOCdevkit/VOC2007/. What is done already is
not computed again.
"""

import fnmatch
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.flags.measuring import (
    add_own_flag,
    add_rehearse_flag,
    add_set_flags,
    folder_flag,
)
from benchmarks.flags.trunk import add_forward_flags
from slurm.cli import Parser, add_common_flags, choose, positive, run_command
from slurm.errors import UserError, one_line

if TYPE_CHECKING:
    from benchmarks.protocols import Protocol


def main(argv: list[str] | None = None) -> None:
    """The command."""
    words = sys.argv[1:] if argv is None else argv
    if words and not words[0].startswith("-"):
        choose(words[0], ["protocols"], "subcommand")
        show_protocols(words[1:])
        return
    parser = Parser(prog="python -m benchmarks", description=__doc__ or "")
    parser.add_argument(
        "--ckpt",
        required=True,
        metavar="NAME[,NAME]",
        help="registered names (or patterns such as 'deepcluster*'), checkpoint files, random:ARCH",
    )
    parser.add_argument(
        "--suite",
        default="model-zoo",
        metavar="NAME[,NAME]",
        help="model-zoo (default), avgpool (ImageNet AvgPool by the three protocols of the "
        "published figures), vissl, fair, digits, quick (k-NN and logistic regression on cached "
        "features, in minutes), or one benchmark by its name; probes of several suites whose "
        "images agree read one stream, and where their colours agree share the forward pass",
    )
    parser.add_argument(
        "--data",
        type=folder_flag,
        default=Path("data"),
        metavar="DIR",
        help="folder that holds the datasets (default: ./data)",
    )
    add_own_flag(parser)
    parser.add_argument(
        "--only", metavar="NAME[,NAME]", help="benchmarks or protocols of the suite to run"
    )
    parser.add_argument(
        "--shots", metavar="K[,K]", help="positives a class of the low-shot SVMs (default: all)"
    )
    parser.add_argument(
        "--together",
        type=positive,
        metavar="N",
        help="checkpoints whose linear probes, or cached features, are made in one pass over the "
        "images, each decoded once for all of them (default: 8, of linear probes fewer where a "
        "GPU's memory is short; 1: each by itself). The figures do not depend on it",
    )
    add_set_flags(parser)
    add_forward_flags(parser)
    add_rehearse_flag(parser)
    add_common_flags(parser)
    args = parser.parse_args(argv)

    from benchmarks import low_shot_svm, suite
    from benchmarks.catalog.own import suite_on_own_data
    from benchmarks.commands import finish_command
    from benchmarks.features.avgpool import share_extractions
    from benchmarks.overrides import check_set_once, custom
    from benchmarks.probes.groups import TRUNKS, together
    from benchmarks.protocols import LowShotProtocol
    from benchmarks.trunks import find_trunk

    suites = [suite.SUITES[choose(name, suite.SUITES, "suite")] for name in _split(args.suite)]
    chosen = list(dict.fromkeys(protocol for one in suites for protocol in one))
    protocols = list(suite.fitting(chosen, args.data, args.own))
    names = {protocol.name: {protocol.name, protocol.benchmark} for protocol in protocols}
    if args.own is not None:
        protocols = suite_on_own_data(protocols, args.own, args.data)
        names = {one.name: names[one.name] | {one.benchmark} for one in protocols}
    if args.only is not None:
        known = sorted(set().union(*names.values()))
        for name in _split(args.only):
            elsewhere = [key for key, members in suite.SUITES.items() if _names(members, name)]
            if name not in known and args.own is not None:
                here = ", ".join(dict.fromkeys(one.benchmark for one in protocols))
                raise UserError(f"--only {name}: is not measured on {args.own}: choose from {here}")
            if name not in known and elsewhere:
                raise UserError(
                    f"--only {name}: not in the suite {args.suite}; add --suite {elsewhere[0]}"
                )
        wanted = {choose(name, known, "benchmark") for name in _split(args.only)}
        protocols = [protocol for protocol in protocols if names[protocol.name] & wanted]
    if args.shots is not None:
        check_set_once(args.set, {f"shots={args.shots}": f"--shots {args.shots}"})
        shots = low_shot_svm.read_shots(args.shots)
        protocols = [
            replace(one, shots=shots) if isinstance(one, LowShotProtocol) else one
            for one in protocols
        ]
    protocols = custom(protocols, args)
    trunks = [find_trunk(args, name) for name in checkpoint_names(args.zoo, args.ckpt)]
    goals = suite.goals(trunks, args.data, protocols)
    work = share_extractions(together(goals, args.together), args.together or TRUNKS)
    finish_command(args, goals, work)


def show_protocols(words: list[str]) -> None:
    """`python -m benchmarks protocols [NAME]`: a line a protocol, or every number of one."""
    parser = Parser(
        prog="python -m benchmarks protocols", description="The numbers of each protocol."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of them, in full")
    name = parser.parse_args(words).name

    from benchmarks.catalog.listed import PROTOCOLS
    from benchmarks.overrides import lines_of

    if name is None:
        rows = [(one.name, one.variant, one.benchmark) for one in PROTOCOLS.values()]
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    else:
        protocol = PROTOCOLS[choose(name, PROTOCOLS, "protocol")]
        print("\n".join(lines_of(protocol)))


def _names(members: Sequence["Protocol"], name: str) -> bool:
    return any(name in (protocol.name, protocol.benchmark) for protocol in members)


def checkpoint_names(zoo: Path, ckpt: str) -> list[str]:
    """The checkpoints that `--ckpt` lists, patterns replaced by the registered names they match.

    A checkpoint whose card cannot be read does not keep a pattern from the others: it is named on
    standard error and left out.
    """
    from benchmarks.checkpoints.cards import read_cards, registered_names
    from benchmarks.checkpoints.wording import shown

    names: list[str] = []
    for name in _split(ckpt):
        if any(sign in name for sign in "*?["):
            matched = fnmatch.filter(registered_names(zoo), name)
            if not matched:
                raise UserError(f"--ckpt {name} matches no registered checkpoint of {zoo}")
            cards, unreadable = read_cards(zoo, matched)
            for reason in unreadable.values():
                print(f"warning: left out: {shown(one_line(reason), 400)}", file=sys.stderr)
            if not cards:
                raise UserError(f"--ckpt {name} matches no checkpoint of {zoo} that can be read")
            names += [card.name for card in cards]
        else:
            names.append(name)
    return list(dict.fromkeys(names))


def _split(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UserError("an empty list of names was given: name at least one, separated by commas")
    return parts


if __name__ == "__main__":
    run_command(main)

"""Every benchmark of a suite for one or many checkpoints.

python -m benchmarks --ckpt NAME[,NAME] --suite model-zoo --data DIR

DIR holds imagenet/, places205/, inaturalist2018/ and VOCdevkit/VOC2007/. What is done already is
not computed again.
"""

import fnmatch
import sys
from pathlib import Path

from benchmarks.checkpoints.cards import read_cards, registered_names
from benchmarks.checkpoints.wording import shown
from benchmarks.commands import finish_command
from benchmarks.trunks import add_forward_flags, find_trunk
from slurm.cli import Parser, add_common_flags, choose, run_command
from slurm.errors import UserError, one_line


def main(argv: list[str] | None = None) -> None:
    """The command."""
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
        metavar="NAME",
        help="model-zoo (default), vissl, fair, digits",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder that holds the datasets (default: ./data)",
    )
    parser.add_argument(
        "--only", metavar="NAME[,NAME]", help="benchmarks or protocols of the suite to run"
    )
    add_forward_flags(parser)
    add_common_flags(parser)
    args = parser.parse_args(argv)

    from benchmarks import suite

    protocols = list(suite.SUITES[choose(args.suite, suite.SUITES, "suite")])
    if args.only:
        names = {name for protocol in protocols for name in (protocol.name, protocol.benchmark)}
        wanted = {choose(name, sorted(names), "benchmark") for name in _split(args.only)}
        protocols = [
            protocol
            for protocol in protocols
            if protocol.name in wanted or protocol.benchmark in wanted
        ]
    trunks = [find_trunk(args, name) for name in checkpoint_names(args.zoo, args.ckpt)]
    finish_command(args, suite.goals(trunks, args.data, protocols))


def checkpoint_names(zoo: Path, ckpt: str) -> list[str]:
    """The checkpoints that `--ckpt` lists, patterns replaced by the registered names they match.

    A checkpoint whose card cannot be read does not keep a pattern from the others: it is named on
    standard error and left out.
    """
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

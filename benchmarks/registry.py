"""Registered checkpoints: `python -m benchmarks.registry add PATH --name NAME`, `list`, `show`,
`edit`, `rename`, `remove`.

For scripts, `register` and `load_backbone` can be imported from here.
"""

import argparse
import sys

import msgspec

from benchmarks.checkpoints.cards import read_cards, registered_names
from benchmarks.checkpoints.wording import shown
from benchmarks.checkpoints.zoo import load_backbone, register
from benchmarks.registering import adding, editing, page, removing, renaming
from benchmarks.registering.output import Rows, output
from slurm.cli import Parser, add_zoo_flag, json_path, run_command
from slurm.errors import one_line
from slurm.files import check_is_there

__all__ = ["load_backbone", "main", "register"]


def main(argv: list[str] | None = None) -> None:
    """The command."""
    args = _parser().parse_args(argv)
    args.run(args)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.registry",
        description="Checkpoints of the zoo: the trunks that benchmarks measure.",
    )
    commands = parser.add_subparsers(required=True, metavar="add|list|show|edit|rename|remove")
    adding.add_parser(commands)
    listing = commands.add_parser("list", help="all checkpoints", description=_list.__doc__)
    listing.set_defaults(run=_list)
    for part in (page, editing, renaming, removing):
        part.add_parser(commands)
    for name, command in commands.choices.items():
        add_zoo_flag(command)
        if name != "remove":
            command.add_argument(
                "--json", type=json_path, metavar="PATH", help="also write JSON here; - is stdout"
            )
    return parser


def _list(args: argparse.Namespace) -> None:
    """List the registered checkpoints; one that cannot be read is named on standard error."""
    check_is_there(args.zoo)
    cards, unreadable = read_cards(args.zoo, registered_names(args.zoo))
    for reason in unreadable.values():
        print(f"warning: not listed: {shown(one_line(reason), 400)}", file=sys.stderr)
    rows: Rows = [("name", "architecture", "method", "format", "weights")]
    for card in cards:
        row = (card.name, card.label, card.method or "", card.format or "", card.weights[:12])
        rows.append(row)
    if not cards:
        rows = [(f"nothing is registered in {args.zoo}",)]
    content = msgspec.json.format(msgspec.json.encode(cards), indent=1) + b"\n"
    output(args.json, content, rows)


if __name__ == "__main__":
    run_command(main)

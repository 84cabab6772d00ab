"""Registered checkpoints: `python -m benchmarks.registry add PATH --name NAME`, `list`, `show`.

For scripts, `register` and `load_backbone` can be imported from here.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import results
from benchmarks.checkpoints.cards import (
    Card,
    card_path,
    read_card,
    read_cards,
    registered_names,
    weights_path,
)
from benchmarks.checkpoints.formats import FORMATS
from benchmarks.checkpoints.wording import listed, shown
from benchmarks.checkpoints.zoo import build_card, load_backbone, register, store
from slurm.cli import Parser, add_zoo_flag, choose, json_path, run_command
from slurm.errors import UserError, one_line
from slurm.files import check_is_there, check_writable
from slurm.outputs import write_output
from slurm.streams import write_stdout

if TYPE_CHECKING:
    from benchmarks.checkpoints.reading import Imported

__all__ = ["load_backbone", "main", "register"]

Rows = list[tuple[str, ...]]
MOST_SHOWN = 8  # names in one row
LONGEST_CELL = 1000  # characters

EPILOG = """\
The trunk is found wherever it lies in the file and whatever its names are wrapped in (module.,
backbone., _orig_mod. and so on): it is the one place where every tensor of an architecture is
found with its shape. A tensor that is missing, misshaped or too many is an error that lists it;
heads and what else stands beside the trunk are listed and left. Of several trunks (EMA, teacher
and student) the one is taken that the project which wrote the file evaluates, and the card notes
it; where there is no such rule, all are listed and --which chooses. The configuration in the files
of OpenMMLab is read, never run, for what tensors do not show: style, BGR, mean and std. A file
without one is assumed to be torchvision's or timm's network on RGB; the card says so.

formats (--format auto takes the first that fits):
"""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    args = _parser().parse_args(argv)
    args.run(args)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.registry",
        description="Checkpoints of the zoo: the trunks that benchmarks measure.",
    )
    commands = parser.add_subparsers(required=True, metavar="add|list|show")
    add = commands.add_parser(
        "add",
        help="register a checkpoint file",
        description=_add.__doc__,
        epilog=EPILOG + "".join(f"  {f.name:<19} {f.project}\n" for f in FORMATS),
    )
    add.add_argument(
        "path", type=Path, metavar="PATH", help=".pth, .pt, .tar, .torch, .safetensors"
    )
    add.add_argument("--name", required=True, help="name in the zoo and in the tables")
    add.add_argument("--arch", help="timm architecture, alexnet, resnet50w2 (default: by shapes)")
    add.add_argument("--format", default="auto", help="layout of the file (default: auto)")
    add.add_argument(
        "--which",
        metavar="NAME",
        help="of several trunks in the file, the one at this address, such as teacher",
    )
    add.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="PREFIX",
        help="leave out tensors whose names start so; may be repeated; the card notes it",
    )
    add.add_argument(
        "--sobel",
        choices=("auto", "yes", "no"),
        default="auto",
        help="demand a Sobel stem, or none (default: auto, by the first convolution)",
    )
    add.add_argument("--method", help="pretraining method, for the tables")
    add.add_argument("--config", metavar="URL", help="recipe file or URL, for the tables")
    add.add_argument("--force", action="store_true", help="replace other weights of that name")
    add.add_argument("--dry-run", action="store_true", help="say what would be registered")
    add.set_defaults(run=_add)
    listing = commands.add_parser("list", help="all checkpoints", description=_list.__doc__)
    listing.set_defaults(run=_list)
    show = commands.add_parser("show", help="one checkpoint", description=_show.__doc__)
    show.add_argument("name", metavar="NAME")
    show.set_defaults(run=_show)
    for command in (add, listing, show):
        add_zoo_flag(command)
        command.add_argument(
            "--json", type=json_path, metavar="PATH", help="also write JSON here; - is stdout"
        )
    return parser


def _add(args: argparse.Namespace) -> None:
    """Read the trunk in a checkpoint file of another project and put it into the zoo."""
    card_path(args.zoo, args.name)  # the name is checked before the file is read
    if not args.path.is_file():
        raise UserError(f"no checkpoint file {args.path}")
    if not args.dry_run:
        check_writable(args.zoo)
    from benchmarks.checkpoints.reading import read_checkpoint

    found = read_checkpoint(
        args.path,
        arch=args.arch,
        format=args.format,
        sobel=args.sobel,
        which=args.which,
        drop=args.drop,
    )
    card = build_card(
        args.name,
        found.tensors,
        arch=found.arch,
        sobel=found.sobel,
        mean=found.mean,
        std=found.std,
        method=args.method,
        config=args.config,
        source=str(args.path),
        format=found.format,
        notes=found.notes,
    )
    rows = [*_card_rows(card), *_import_rows(found)]
    if args.dry_run:
        rows.append(("dry run", f"nothing was written to {args.zoo}"))
    else:
        store(args.zoo, card, found.tensors, force=args.force)
        rows.append(("registered", str(card_path(args.zoo, card.name))))
    _output(args.json, results.encode(card), rows)


def _list(args: argparse.Namespace) -> None:
    """List the registered checkpoints; one that cannot be read is named on standard error."""
    import msgspec

    check_is_there(args.zoo)
    cards, unreadable = read_cards(args.zoo, registered_names(args.zoo))
    for reason in unreadable.values():
        print(f"warning: not listed: {shown(one_line(reason), 400)}", file=sys.stderr)
    rows: Rows = [("name", "architecture", "method", "format", "weights")]
    for card in cards:
        row = (
            card.name,
            card.arch + ", Sobel stem" * card.sobel,
            card.method or "",
            card.format or "",
        )
        rows.append((*row, card.weights[:12]))
    if not cards:
        rows = [(f"nothing is registered in {args.zoo}",)]
    content = msgspec.json.format(msgspec.json.encode(cards), indent=1) + b"\n"
    _output(args.json, content, rows)


def _show(args: argparse.Namespace) -> None:
    """Show the card of a registered checkpoint."""
    check_is_there(args.zoo)
    choose(args.name, registered_names(args.zoo), f"checkpoint in {args.zoo}")
    card = read_card(args.zoo, args.name)
    path = weights_path(args.zoo, args.name)
    size = f"{path.stat().st_size / 1e6:.1f} MB" if path.exists() else "missing"
    rows = [*_card_rows(card), ("file", f"{path} ({size})")]
    rows += [(str(key), str(value)) for key, value in card.pretraining.items()]
    _output(args.json, results.encode(card), rows)


def _card_rows(card: Card) -> Rows:
    rows: Rows = [
        ("name", card.name),
        ("architecture", card.arch + ", Sobel stem" * card.sobel),
        ("weights", card.weights),
        ("mean", ", ".join(map(str, card.mean))),
        ("std", ", ".join(map(str, card.std))),
    ]
    optional = (("method", card.method), ("config", card.config), ("source", card.source))
    rows += [(key, value) for key, value in (*optional, ("format", card.format)) if value]
    return rows + [("note", note) for note in card.notes]


def _import_rows(found: "Imported") -> Rows:
    dropped = [f"{name} ({count})" for name, count in found.dropped.items()]
    rows = [
        ("matched", f"{found.matched} of {len(found.tensors)} tensors"),
        ("missing", "0"),
        ("unexpected", "0"),
        (
            "dropped",
            listed(dropped, MOST_SHOWN) if len(dropped) > MOST_SHOWN else ", ".join(dropped) or "0",
        ),
    ]
    if len(found.trunks) > 1:
        rows += [("trunk", trunk) for trunk in found.trunks[:MOST_SHOWN]]
    if found.assumed:
        rows.append(("set to zero", f"{len(found.assumed)} batch counters that old files lack"))
    return list(rows)


def _output(json: str | None, content: bytes, rows: Rows) -> None:
    """Rows as aligned columns on stdout, or on stderr when the JSON goes to stdout."""
    if json == "-":
        write_stdout(content)
    elif json:
        write_output(Path(json), content)
    rows = [tuple(shown(cell, LONGEST_CELL) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        print(line, file=sys.stderr if json == "-" else sys.stdout)


if __name__ == "__main__":
    run_command(main)

"""`registry edit`: what may change of a checkpoint whose trunk stays."""

import argparse
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks import results
from benchmarks.checkpoints import placing
from benchmarks.checkpoints.cards import Card, card_path, read_card, registered_names
from benchmarks.checkpoints.fit import state_pixels
from benchmarks.registering.hanging import hanging, outdated_lines
from benchmarks.registering.output import output, output_lines, rows_of
from benchmarks.registering.pixels import add_pixel_flags, given_pixels, with_pixels
from slurm.cli import Parser, choose
from slurm.errors import UserError
from slurm.files import check_is_there


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "edit",
        help="change what a card says",
        description=edit.__doc__,
        epilog="Figures depend on mean and std: results that were measured with other ones are "
        "named, and left out of the tables from then on.",
    )
    parser.add_argument("name", metavar="NAME", help="of the checkpoint, as list shows it")
    parser.add_argument("--method", help="pretraining method; empty takes it away")
    parser.add_argument("--config", metavar="URL", help="recipe file or URL; empty takes it away")
    add_pixel_flags(parser)
    parser.add_argument(
        "--note",
        action="append",
        default=[],
        metavar="TEXT",
        help="say this under every table with its figures; may be repeated",
    )
    parser.add_argument(
        "--no-notes", action="store_true", help="take away the notes that were added by --note"
    )
    parser.set_defaults(run=edit)


def edit(args: argparse.Namespace) -> None:
    """Change the method, config, mean and std, or notes of a registered checkpoint."""
    pixels = given_pixels(args)
    if not (pixels or args.note or args.no_notes) and args.method is args.config is None:
        raise UserError("nothing to change: give --method, --config, --mean and --std, or --note")
    if not all(note.strip() for note in args.note):
        raise UserError("--note is empty: say what a reader of the figures must know")
    check_is_there(args.zoo)
    choose(args.name, registered_names(args.zoo), f"checkpoint in {args.zoo}")

    def change(card: Card) -> Card:
        remarks = () if args.no_notes else card.remarks
        changed = msgspec.structs.replace(
            card,
            method=card.method if args.method is None else args.method or None,
            config=card.config if args.config is None else args.config or None,
            remarks=tuple(dict.fromkeys((*remarks, *args.note))),
        )
        return with_pixels(changed, *pixels) if pixels else changed

    card = change_card(args.zoo, args.name, change)
    output(args.json, results.encode(card), rows_of(card))
    output_lines(args.json, outdated_lines(hanging(args.zoo, card.name, card), card.name))


def change_card(zoo: Path, name: str, change: Callable[[Card], Card]) -> Card:
    """Replace a card by what `change` makes of it, whoever else changes it meanwhile."""
    folder = card_path(zoo, name).parent
    try:
        with placing.alone(folder):
            old = read_card(zoo, name)
            new = change(old)
            results.encode(new)  # before anything is written
            if new.measured != old.measured:
                state_pixels(zoo, old)
            if new != old:
                results.write(folder / "card.json", new)
            return new
    except placing.Gone:
        raise UserError(f"{name} was removed or renamed meanwhile") from None

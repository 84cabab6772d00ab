"""`registry remove`: a checkpoint goes, and with --results what was measured on it."""

import argparse
import sys
from pathlib import Path

from benchmarks.checkpoints import placing
from benchmarks.checkpoints.cards import Card, card_path, read_card, registered_names
from benchmarks.registering.hanging import FOLDERS, hanging, size, size_text
from benchmarks.registering.output import output_lines
from slurm.cli import Parser, choose
from slurm.errors import UserError
from slurm.files import check_is_there


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "remove",
        help="take one away",
        description=remove.__doc__,
        epilog="It says what hangs on the checkpoint first, and asks on a terminal. Results stay "
        "without --results: their rows keep their name in the tables, and are left out once "
        "another checkpoint has it.",
    )
    parser.add_argument("name", metavar="NAME", help="of the checkpoint, as list shows it")
    parser.add_argument("--results", action="store_true", help="also what was measured on it")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed")
    parser.set_defaults(run=remove)


def remove(args: argparse.Namespace) -> None:
    """Remove a registered checkpoint: its card and weights."""
    zoo, name = args.zoo, args.name
    check_is_there(zoo)
    folder = card_path(zoo, name).parent
    choose(name, registered_names(zoo), f"checkpoint in {zoo}")
    card = _card(zoo, name)
    output_lines(None, _what_hangs(zoo, name, card, args.results))
    if args.dry_run:
        output_lines(None, ["nothing was removed"])
        return
    if not args.yes and not _agrees(name):
        raise UserError(f"{name} was not removed: say --yes to remove it")
    try:
        with placing.alone(folder):
            if _card(zoo, name) != card:
                raise UserError(f"{name} was changed meanwhile: look at it again")
            results = zoo / "results" / name
            if args.results and results.is_dir():
                placing.remove(results)
            placing.remove(folder)
    except placing.Gone:
        raise UserError(f"{name} was removed or renamed meanwhile") from None
    output_lines(None, [f"removed {name}"])


def _card(zoo: Path, name: str) -> Card | None:
    """The card, None for a damaged one."""
    try:
        return read_card(zoo, name)
    except UserError:
        return None


def _what_hangs(zoo: Path, name: str, card: Card | None, results: bool) -> list[str]:
    folder = card_path(zoo, name).parent
    what = f"{card.label}, weights {card.weights[:12]}" if card else "its card cannot be read"
    lines = [f"{name}: {what}, {size_text(size(folder))} in {folder}"]
    found = hanging(zoo, name, card)
    if found.count:
        of = [text for text in (found.by_benchmark(), _others(len(found.outdated))) if text]
        where = f"in {zoo / 'results' / name}"
        fate = "are removed too" if results else "stay (--results removes them too)"
        lines.append(f"  {found.count} result(s) {where} {fate}: {', '.join(of) or 'unreadable'}")
    for part in FOLDERS[1:]:
        path = zoo / part / name
        if path.is_dir():
            lines.append(f"  {size_text(size(path))} in {path} stay: {_HOW[part]}")
    return lines


_HOW = {
    "features": "a cache, which python -m benchmarks.features remove frees",
    "state": "of runs that were not finished, or can be continued",
    "logs": "what runs said",
}


def _others(count: int) -> str:
    return f"{count} of what it was before" if count else ""


def _agrees(name: str) -> bool:
    """Whether the user agrees; without a terminal nobody can be asked."""
    if not sys.stdin.isatty():
        return False
    print(f"remove {name}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")

"""`registry rename`: another name for a checkpoint and all that hangs on it.

In steps, each of which leaves every figure under a name whose card fits it: the new name is
claimed with a copy of the checkpoint, the results are copied under it, the caches follow, and only
then what stood under the old name goes, the checkpoint last. Cut off anywhere, the same command
goes on.
"""

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from benchmarks import results
from benchmarks.checkpoints import placing
from benchmarks.checkpoints.cards import Card, card_path, read_card, registered_names, weights_of
from benchmarks.checkpoints.fit import record_paths
from benchmarks.registering.hanging import FOLDERS, hanging
from benchmarks.registering.output import output, output_lines
from benchmarks.registering.records import records_of
from slurm.cli import Parser, choose
from slurm.errors import UserError
from slurm.files import atomic_path, check_is_there, read_regular, write_bytes
from slurm.leftovers import remove_leftovers


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "rename",
        help="another name for one",
        description=rename.__doc__,
        epilog="Its results say the new name; cached features, saved states and logs follow. Do "
        "it while nothing computes on it: a job that was planned under the old name fails or "
        "leaves its result there, and nothing is lost. Killed, the same command goes on.",
    )
    parser.add_argument("name", metavar="OLD", help="its name now, as list shows it")
    parser.add_argument("new", metavar="NEW", help="its name from now on, which none has yet")
    parser.set_defaults(run=rename)


def rename(args: argparse.Namespace) -> None:
    """Give a registered checkpoint another name: its card, weights, results and caches."""
    zoo, old, new = args.zoo, args.name, args.new
    check_is_there(zoo)
    card_path(zoo, new)  # the name is checked
    if new.startswith("random-"):
        raise UserError(f"the name {new!r} is kept for random trunks; choose another")
    if new == old:
        raise UserError(f"{old} has that name already")
    choose(old, registered_names(zoo), f"checkpoint in {zoo}")
    try:
        with placing.alone(card_path(zoo, old).parent):
            card = _rename(zoo, read_card(zoo, old), new)
    except placing.Gone:
        raise UserError(f"{old} was removed or renamed meanwhile") from None
    count = hanging(zoo, new, card).count
    output(args.json, results.encode(card), [("renamed", f"{old} to {new}, {count} result(s)")])
    left = [zoo / folder / old for folder in FOLDERS if (zoo / folder / old).exists()]
    output_lines(args.json, [f"left, since something writes there: {path}" for path in left])


def _rename(zoo: Path, old: Card, new: str) -> Card:
    card = msgspec.structs.replace(old, name=new)
    unreadable = records_of(zoo, old.name)[1]
    if unreadable:
        raise UserError(f"{unreadable[0]}; mend or remove it first")
    _claim(zoo, old, card)
    _copy_results(zoo, old.name, new)
    for folder in FOLDERS[1:]:
        _move(zoo / folder / old.name, zoo / folder / new)
    _remove_copied(zoo, old.name, new)
    placing.remove(card_path(zoo, old.name).parent)
    return card


def _claim(zoo: Path, old: Card, card: Card) -> None:
    """Put the checkpoint under its new name; `UserError` when something else has that name.

    The same checkpoint is there when an earlier call was cut off.
    """
    folder = card_path(zoo, card.name).parent
    if not folder.exists():
        if any(record_paths(zoo, card.name)):
            raise UserError(
                f"{zoo / 'results' / card.name} holds results of an earlier {card.name}: remove "
                "them, or choose another name"
            )
        weights = weights_of(zoo, old)
        if not weights.exists():
            raise UserError(f"{weights} is missing: register {old.name!r} again")
        if placing.place_new(folder, card, weights.read_bytes()):
            return
    try:
        there = read_card(zoo, card.name)
    except UserError as error:
        raise UserError(f"the name {card.name!r} is taken: {error}") from None
    if there != card:
        raise UserError(f"{zoo} has another checkpoint {card.name!r}: choose another name")


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, but for those that somebody is writing."""
    yield from sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )


def _copy_results(zoo: Path, old: str, new: str) -> None:
    """Copy every file under the new name that is not there yet; records say the new name."""
    source, target = zoo / "results" / old, zoo / "results" / new
    records = set(record_paths(zoo, old))
    for path in _files(source):
        copy = target / path.relative_to(source)
        if copy.exists():
            continue
        if path in records:
            write_bytes(copy, _renamed(path, new))
        else:
            _link(path, copy)


def _renamed(path: Path, new: str) -> bytes:
    content = msgspec.json.decode(read_regular(path))
    content["checkpoint"]["name"] = new
    return results.encode_plain(content)


def _link(path: Path, copy: Path) -> None:
    """The same file under another name, or a copy where a file system has no hard links."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, copy)
    except OSError:
        if not copy.exists():
            with atomic_path(copy) as temporary:
                shutil.copyfile(path, temporary)


def _move(source: Path, target: Path) -> None:
    """Rename a folder, or what of it is not in the target yet."""
    if not source.is_dir():
        return
    with suppress(OSError):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            return
        for path in sorted(source.iterdir()):
            if not (target / path.name).exists():
                path.rename(target / path.name)
        source.rmdir()


def _remove_copied(zoo: Path, old: str, new: str) -> None:
    """Remove the results under the old name, all of which are under the new one.

    One that came meanwhile is copied first; a folder that somebody writes in stays.
    """
    source = zoo / "results" / old
    _copy_results(zoo, old, new)
    for path in _files(source):
        if (zoo / "results" / new / path.relative_to(source)).exists():
            path.unlink(missing_ok=True)
    folders = [path for path in source.rglob("*") if path.is_dir()]
    for folder in (*sorted(folders, reverse=True), source):
        remove_leftovers(folder)
        with suppress(OSError):
            folder.rmdir()

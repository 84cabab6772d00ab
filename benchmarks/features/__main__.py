"""The cache of extracted features: `python -m benchmarks.features list`, `remove NAME[/KEY]`.

Features lie in ZOO/features/CHECKPOINT/KEY. They can be removed at any time: what needs them again
extracts them again. Records do not depend on them.
"""

import argparse
import fnmatch
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from slurm.cli import Parser, add_zoo_flag, choose, json_path, run_command
from slurm.errors import UserError
from slurm.outputs import write_json


@dataclass(frozen=True)
class Cached:
    """One folder of the cache."""

    name: str  # CHECKPOINT/KEY
    bytes: int
    files: int
    complete: bool  # extracted to the end
    modified: str  # day, UTC


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m benchmarks.features", description=__doc__ or "")
    commands = parser.add_subparsers(required=True, metavar="list|remove")
    listing = commands.add_parser("list", help="what is cached, with its size", description=__doc__)
    listing.add_argument(
        "--json",
        nargs="?",
        type=json_path,
        const="-",
        metavar="PATH",
        help="also write JSON here; - (or no PATH) is stdout, and the lines are left out",
    )
    listing.set_defaults(run=_list)
    remove = commands.add_parser("remove", help="free the disk", description=__doc__)
    remove.add_argument(
        "names", nargs="*", metavar="NAME[/KEY]", help="checkpoints, or patterns such as 'old*'"
    )
    remove.add_argument("--all", action="store_true", help="the whole cache")
    remove.add_argument("--dry-run", action="store_true", help="say what would be removed")
    remove.set_defaults(run=_remove)
    for command in (listing, remove):
        add_zoo_flag(command)
    args = parser.parse_args(argv)
    args.run(args)


def cached(zoo: Path) -> list[Cached]:
    """All that is in the cache of a zoo, by name; `UserError` when there is no such zoo."""
    if not zoo.is_dir():
        raise UserError(f"no zoo {zoo}: name it with --zoo or the environment variable ZOO")
    root = zoo / "features"
    folders = sorted(path for path in root.glob("*/*") if _is_extraction(path))
    return [_look(root, folder) for folder in folders]


def _is_extraction(folder: Path) -> bool:
    """Whether this is a folder of the cache itself, not behind a link, with nothing foreign."""
    if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
        return False
    return all(
        path.is_file() and (path.suffix in (".npy", ".json") or path.name.startswith("."))
        for path in folder.iterdir()
    )


def _look(root: Path, folder: Path) -> Cached:
    files = [path.stat() for path in folder.iterdir() if path.is_file()]
    newest = max((file.st_mtime for file in files), default=folder.stat().st_mtime)
    return Cached(
        name=folder.relative_to(root).as_posix(),
        bytes=sum(file.st_size for file in files),
        files=len(files),
        complete=(folder / "complete.json").is_file(),
        modified=time.strftime("%Y-%m-%d", time.gmtime(newest)),
    )


def _list(args: argparse.Namespace) -> None:
    found = cached(args.zoo)
    if args.json:
        write_json(args.json, msgspec.json.encode([asdict(one) for one in found]) + b"\n")
    if args.json == "-":
        return
    for one in found:
        print(_line(one))
    total = sum(one.bytes for one in found) / 1e9
    print(f"{len(found)} in {args.zoo / 'features'}, {total:.2f} GB")


def _line(one: Cached) -> str:
    state = "" if one.complete else "  (not extracted to the end)"
    return f"{one.bytes / 1e6:10.1f} MB  {one.modified}  {one.name}{state}"


def _remove(args: argparse.Namespace) -> None:
    found = cached(args.zoo)
    if bool(args.names) == args.all:
        raise UserError("name what to remove (NAME, NAME/KEY or a pattern), or pass --all")
    chosen = found if args.all else [one for name in args.names for one in _matching(name, found)]
    for one in dict.fromkeys(chosen):
        if not args.dry_run:
            _remove_folder(args.zoo / "features" / one.name)
        print(("would remove " if args.dry_run else "removed ") + _line(one).strip())


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:  # which may name a file without its folder
        error.filename = str(folder)
        raise


def _matching(name: str, found: list[Cached]) -> list[Cached]:
    chosen = [
        one
        for one in found
        if fnmatch.fnmatchcase(one.name, name) or fnmatch.fnmatchcase(one.name.split("/")[0], name)
    ]
    if not chosen:
        names = {one.name.split("/")[0] for one in found}
        choose(name, [*sorted(names), *(one.name for one in found)], "name in the feature cache")
    return chosen


if __name__ == "__main__":
    run_command(main)

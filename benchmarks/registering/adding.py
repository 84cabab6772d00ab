"""`registry add`: the trunk in a file of another project, put into the zoo."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks import results
from benchmarks.checkpoints.cards import Card, card_path
from benchmarks.checkpoints.formats import FORMATS
from benchmarks.checkpoints.wording import listed
from benchmarks.checkpoints.zoo import build_card, find_card, same_trunk, store
from benchmarks.registering.hanging import hanging, outdated_lines
from benchmarks.registering.output import Rows, output, output_lines, rows_of
from benchmarks.registering.pixels import add_pixel_flags, given_pixels, with_pixels
from slurm.cli import Parser
from slurm.errors import UserError
from slurm.files import check_writable

if TYPE_CHECKING:
    from benchmarks.checkpoints.reading import Imported

MOST_SHOWN = 8  # names in one row

EPILOG = """\
The trunk is found wherever it lies in the file and whatever its names are wrapped in (module.,
backbone., _orig_mod. and so on): it is the one place where every tensor of an architecture is
found with its shape. A tensor that is missing, misshaped or too many is an error that lists it.
Heads and the like are listed and left. A module beside the trunk that may be on the way from the
image to the features (input_norm, bam1) is an error unless --drop leaves it out; what cannot be
told is left, and the card notes it. Of several trunks (EMA, teacher and student) the one is taken
that the project which wrote the file evaluates, and the card notes it; where there is no such rule,
all are listed and --which chooses. The configuration in the files of OpenMMLab is read, never run,
for what tensors do not show: style, BGR, mean and std. A file without one is assumed to be
torchvision's or timm's network on RGB; the card says so.

Adding the same trunk again brings its card up to date and keeps what is not given: --method,
--config, notes, and mean and std that were given. With --force other weights, or the same ones
built or fed otherwise, take the name; results that no longer fit are named.

values of --format (auto takes the first that fits):
"""


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "add",
        help="register a checkpoint file",
        description=add.__doc__,
        epilog=EPILOG + "".join(f"  {f.name:<19} {f.project}\n" for f in FORMATS),
    )
    parser.add_argument(
        "path", type=Path, metavar="PATH", help=".pth, .pt, .tar, .torch, .safetensors"
    )
    parser.add_argument("--name", required=True, help="name in the zoo and in the tables")
    parser.add_argument(
        "--arch", help="timm architecture, alexnet, resnet50w2 (default: by shapes)"
    )
    parser.add_argument(
        "--format",
        default="auto",
        metavar="FORMAT",
        help="layout of the file, one of those below (default: auto)",
    )
    parser.add_argument(
        "--prefix",
        metavar="P",
        help="the trunk's names begin with P, such as model.encoder. : it is taken from there, "
        "and must begin exactly there",
    )
    parser.add_argument(
        "--which",
        metavar="NAME",
        help="of several trunks in the file, the one at this address, such as teacher",
    )
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="PREFIX",
        help="leave out tensors whose names start so; may be repeated; the card notes it",
    )
    parser.add_argument(
        "--sobel",
        choices=("auto", "yes", "no"),
        default="auto",
        help="demand a Sobel stem, or none (default: auto, by the first convolution)",
    )
    add_pixel_flags(parser)
    parser.add_argument(
        "--method",
        help="pretraining method: shown by list and show, in metafiles and model cards of reports, "
        "which compares with the published rows of that method by --compare",
    )
    parser.add_argument(
        "--config", metavar="URL", help="recipe file or URL, to which the tables link"
    )
    parser.add_argument("--force", action="store_true", help="replace other weights of that name")
    parser.add_argument("--dry-run", action="store_true", help="say what would be registered")
    parser.set_defaults(run=add)


def add(args: argparse.Namespace) -> None:
    """Read the trunk in a checkpoint file of another project and put it into the zoo."""
    card_path(args.zoo, args.name)  # the name is checked before the file is read
    pixels = given_pixels(args)
    if args.path.is_dir():
        raise UserError(f"{args.path} is a folder: name the checkpoint file in it")
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
        prefix=args.prefix,
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
    if pixels:
        card = with_pixels(card, *pixels)
    if args.dry_run:
        old = _old_card(args.zoo, args.name)
        card = keep(old, card)
        end = ("dry run", f"nothing was written to {args.zoo}")
        if old is not None and old.measured != card.measured and not args.force:
            end = ("dry run", f"another checkpoint is called {card.name}: --force would replace it")
    else:
        card = store(args.zoo, card, found.tensors, force=args.force, keep=keep)
        end = ("registered", str(card_path(args.zoo, card.name)))
    rows = [*rows_of(card), *_import_rows(found), end]
    output(args.json, results.encode(card), rows)
    if not args.dry_run:
        found_results = hanging(args.zoo, card.name, card)
        output_lines(args.json, outdated_lines(found_results, card.name))


def keep(old: Card | None, new: Card) -> Card:
    """The new card with what was said of the old one and not said again.

    What is only true of a trunk (how it was trained, the user's notes, mean and std that were
    given) is kept for the same one.
    """
    if old is None:
        return new
    kept = msgspec.structs.replace(
        new, method=new.method or old.method, config=new.config or old.config
    )
    if not same_trunk(old, new):
        return kept
    kept = msgspec.structs.replace(
        kept,
        pretraining=new.pretraining or old.pretraining,
        remarks=new.remarks or old.remarks,
    )
    if old.pixels_given and not new.pixels_given:
        kept = with_pixels(kept, old.mean, old.std)
    return kept


def _old_card(zoo: Path, name: str) -> Card | None:
    try:
        return find_card(zoo, name)
    except UserError:  # a damaged one has nothing to keep
        return None


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
        rows.append(("set to zero", f"{len(found.assumed)} batch counters that the file lacks"))
    return list(rows)

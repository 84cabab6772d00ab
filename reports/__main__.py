"""python -m reports: the tables of a zoo, printed, written into a README, or compared."""

import sys
from pathlib import Path

from slurm.cli import Parser, add_zoo_flag, choose, folder_path, output_path, run_command
from slurm.errors import UserError
from slurm.outputs import check_output

DESCRIPTION = """\
Print the model-zoo tables of a zoo's result records, or write them into a README.

A README takes them between marker lines, each alone on its line:
  <!-- reports:all -->  ...  <!-- /reports:all -->
The blocks are all, voc-svm, imagenet-linear, places205-linear, inaturalist18-linear,
imagenet-knn, imagenet-logreg, own (the tables of your own data), pictures, published and compare.
A README that does not exist is created. results.json, with the records behind every cell, is
written beside it.

  python -m reports compare A B [C ...]   differences with paired intervals; see its --help
  python -m reports reproduce RECORD      the command that makes a record again"""
REPRODUCE = """\
Print the command that makes a result record again, in a zoo of its own, from the same checkpoint,
data, protocol and seed: run it where the first one was run, since folders are named as they were.

Figures are the same to the last bit on the same kind of device with the same packages, which the
record names under versions and commit."""
FORMATS = ("markdown", "csv", "latex", "metafile", "model-index", "json")


def parser() -> Parser:
    """The command's flags."""
    flags = Parser(prog="python -m reports", description=DESCRIPTION)
    add_zoo_flag(flags)
    _add_names(flags, "--ckpt", "only these checkpoints, in this order")
    flags.add_argument("--readme", type=Path, metavar="FILE", help="write between its markers")
    flags.add_argument(
        "--check",
        action="store_true",
        help="with --readme: write nothing; exit 1 with what is stale in the README, results.json, "
        "and the files of --html and --plots",
    )
    flags.add_argument(
        "--format",
        choices=FORMATS,
        help="what is printed (default: markdown; csv has the footnotes as lines of the columns "
        "note 1, note 2, ..., latex as comments, what a reader must know also below the table; "
        "model-index: a YAML document a checkpoint, each for a model card). Beside --readme, "
        "--html or --plots nothing is, unless this is given",
    )
    _add_names(flags, "--variant", "only tables of these variants, such as mmselfsup or custom")
    flags.add_argument("--bold", action="store_true", help="bold the best value of each column")
    flags.add_argument(
        "--seeds",
        action="store_true",
        help="mean and sample standard deviation over all seeds (without it: the lowest seed)",
    )
    flags.add_argument(
        "--ci",
        action="store_true",
        help="the 95 %% interval of each figure over test images, as 74.26 ± 0.62; with --bold the "
        "rows that are not separable from the best one are bold too",
    )
    flags.add_argument(
        "--best",
        action="store_true",
        help="AvgPool of the best epoch beside that of the last; published ones are of the best, "
        "and --compare has it anyway",
    )
    flags.add_argument(
        "--html",
        type=output_path,
        metavar="FILE",
        help="write the tables as one self-contained page",
    )
    flags.add_argument(
        "--plots", type=folder_path, metavar="DIR", help="write the pictures there, as SVG and PNG"
    )
    flags.add_argument(
        "--published", action="store_true", help="the published reference tables instead"
    )
    flags.add_argument(
        "--compare",
        type=_names,
        nargs="?",
        const=[],
        metavar="NAME[,NAME]",
        help="measured rows beside all published rows of the same protocol, or beside those of "
        "these config names or methods, with the differences (as markdown, csv, latex or --html)",
    )
    _add_names(
        flags,
        "--only",
        "published rows of these config names or methods only, in --published, --compare and "
        "their blocks",
    )
    flags.add_argument(
        "--skip-invalid", action="store_true", help="leave out files that are no valid records"
    )
    return flags


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["compare"]:
        from reports.confidence.flags import read_flags

        args = read_flags(words[1:])
        from reports.confidence.command import compare  # needs numpy

        compare(args)
        return
    if words[:1] == ["reproduce"]:
        _reproduce(words[1:])
        return
    if words and not words[0].startswith("-"):
        choose(words[0], ["compare", "reproduce"], "subcommand")
    args = parser().parse_args(words)
    if args.check and args.readme is None:
        raise UserError("--check needs the README to check: add --readme FILE")
    if args.readme is not None and not args.check:
        check_output(args.readme)
    comparing = args.compare is not None
    if args.published and comparing:
        raise UserError("--published and --compare are two different listings: choose one")
    if args.ci and (args.seeds or comparing):
        raise UserError(
            "--ci and --seeds are different spreads, and --compare's differences have neither: "
            "choose one (python -m reports compare A B gives differences with intervals)"
        )
    if args.readme is not None and (args.published or comparing):
        raise UserError(
            "--published and --compare are printed; a README takes them between the markers of a "
            "block of that name, with the rows of --only"
        )
    if args.only and not (args.published or comparing or args.readme):
        raise UserError("--only chooses published rows: add --published, --compare or --readme")
    for flag, given in (
        ("--variant", args.variant),
        ("--best", args.best),
        ("--ci", args.ci),
        ("--plots", args.plots),
    ):
        if args.published and given:
            raise UserError(f"{flag} is of a zoo's own figures, which --published does not show")
    _refuse_shared_outputs(args.readme, args.html, args.plots)
    from reports.run import Report

    report = Report(args)
    if args.readme is not None:
        report.readme()
    else:
        report.listing()


def _reproduce(words: list[str]) -> None:
    """`python -m reports reproduce RECORD`."""
    flags = Parser(prog="python -m reports reproduce", description=REPRODUCE)
    flags.add_argument("record", type=Path, metavar="RECORD", help="a file of ZOO/results")
    flags.add_argument(
        "--data", metavar="DIR", help="folder of its dataset, where that was moved since"
    )
    flags.add_argument(
        "--again",
        type=folder_path,
        metavar="DIR",
        default=Path("again"),
        help="the zoo that it is made in (default: ./again)",
    )
    args = flags.parse_args(words)
    from benchmarks.catalog.records import read_record
    from reports.reproduce import command

    print(command(args.record, read_record(args.record), args.data, args.again))


def _refuse_shared_outputs(readme: Path | None, html: Path | None, plots: Path | None) -> None:
    """`UserError` where one output would be written over another."""
    from reports.run import RESULTS

    files = {"--html": html} if html else {}
    if readme is not None:
        files |= {"--readme": readme, "results.json beside the README": readme.parent / RESULTS}
    named = [(name, path.resolve()) for name, path in files.items()]
    for number, (name, path) in enumerate(named):
        for other, same in named[:number]:
            if path == same or (path.exists() and same.exists() and path.samefile(same)):
                raise UserError(f"{other} and {name} are one file, {path}: name another")
        if plots is None:
            continue
        folder = plots.resolve()
        if path in (folder, *folder.parents):
            raise UserError(f"--plots {plots} needs a folder where {name} is written: name another")
        if path.parent == folder and path.suffix in (".svg", ".png"):
            raise UserError(f"{name} may be one of the pictures in --plots {plots}: name another")


def _add_names(flags: Parser, name: str, text: str) -> None:
    flags.add_argument(name, type=_names, default=[], metavar="NAME[,NAME]", help=text)


def _names(text: str) -> list[str]:
    """Names between commas; random:ARCH is the row random-ARCH."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return [f"random-{name[7:]}" if name.startswith("random:") else name for name in names]


if __name__ == "__main__":
    run_command(main)

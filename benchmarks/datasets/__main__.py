"""Whether a copy of a public dataset is whole: `python -m benchmarks.datasets check DIR`.

Counts of images and classes are compared with the official ones, and every file is decoded once.
What was found sound is kept in ZOO/checks, so that a check that was killed goes on, and one after
a repair looks at the broken files alone. Exit code 0: a whole copy; 2: it is none, and why.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from benchmarks.flags.measuring import folder_flag
from benchmarks.flags.trunk import add_workers_flag
from benchmarks.images.copies import OFFICIAL, check_copy, guess_dataset
from slurm.cli import Parser, add_zoo_flag, json_path, run_command
from slurm.errors import UserError
from slurm.files import check_writable
from slurm.outputs import write_output
from slurm.streams import write_stdout


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m benchmarks.datasets", description=__doc__ or "")
    commands = parser.add_subparsers(required=True, metavar="check")
    check = commands.add_parser("check", help="verify a copy of a dataset", description=__doc__)
    check.add_argument("folder", type=folder_flag, metavar="DIR", help="the copy")
    check.add_argument(
        "--dataset", choices=tuple(OFFICIAL), help="of which dataset (default: by the tree)"
    )
    check.add_argument(
        "--again", action="store_true", help="forget what earlier checks found, decode all"
    )
    check.add_argument("--json", type=json_path, metavar="PATH", help="also write what was found")
    add_workers_flag(check)
    add_zoo_flag(check)
    _check(parser.parse_args(argv))


def _check(args: argparse.Namespace) -> None:
    import msgspec

    folder: Path = args.folder
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name the one that holds the copy")
    dataset = args.dataset or guess_dataset(folder)
    check_writable(args.zoo)
    reports = check_copy(dataset, folder, args.zoo, args.workers, again=args.again)
    faults = {split: found for split, one in reports.items() if (found := one.faults())}
    if args.json:
        splits = {split: asdict(report) for split, report in reports.items()}
        content = {"dataset": dataset, "folder": str(folder), "whole": not faults, "splits": splits}
        encoded = msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
        if args.json == "-":
            write_stdout(encoded)
        else:
            write_output(Path(args.json), encoded)
    if args.json != "-":
        print(f"{dataset} in {folder}")
        for split, report in reports.items():
            print("\n".join(report.lines(split)))
    if faults:
        said = "; ".join(f"{split}: {', '.join(found)}" for split, found in faults.items())
        raise UserError(f"{folder} is no whole copy of {dataset}: {said}")


if __name__ == "__main__":
    run_command(main)

"""The table of checkpoint formats in a page: python -m benchmarks.checkpoints.formats_page FILE."""

import sys
from pathlib import Path

from benchmarks.checkpoints.formats import markdown_table
from slurm.cli import Parser, run_command
from slurm.errors import UserError
from slurm.files import write_text

BEGIN, END = "<!-- formats: begin -->\n", "<!-- formats: end -->\n"


def with_table(page: str) -> str:
    """`page` with the table between its markers; `ValueError` unless both stand there once."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"needs one line {BEGIN.strip()} and after it one line {END.strip()}")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{markdown_table()}{END}{rest.partition(END)[2]}"


def main(argv: list[str] | None = None) -> None:
    """Write the table of formats between the markers of a page, or print it."""
    parser = Parser(
        prog="python -m benchmarks.checkpoints.formats_page", description=main.__doc__ or ""
    )
    parser.add_argument("page", nargs="?", type=Path, metavar="FILE", help="default: print it")
    page = parser.parse_args(argv).page
    if page is None:
        sys.stdout.write(markdown_table())
        return
    try:
        write_text(page, with_table(page.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"cannot read {page}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{page} {error}") from error


if __name__ == "__main__":
    run_command(main)

"""A page of docs/ with figures between two marks: written anew, or held against what it says."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path


def between(page: str, begin: str, end: str, paragraphs: Iterable[str]) -> str:
    """`page` with these paragraphs between the marks `begin` and `end`."""
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + "".join(f"\n{one}\n" for one in paragraphs) + "\n" + end + after


def renew(page: Path, fresh: Callable[[str], str], script: str, about: str | None) -> None:
    """The command of a script: write the page anew; with --check exit with 1 if it is stale."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    old = page.read_text()
    new = fresh(old)
    if new == old:
        return
    if args.check:
        sys.exit(f"{page} is stale: run python {script}")
    page.write_text(new)

"""What `--check` finds: files that are missing, or that show other figures than the zoo has."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from reports.formats import exports
from reports.pages import html
from reports.pictures import plots
from reports.pictures.shapes import Picture


def stale_results(path: Path, proof: bytes) -> bool:
    """Whether `path` differs from `proof` in more than the times and hosts of the runs."""
    try:
        old = path.read_bytes()
    except OSError:
        return True
    return bool(exports.without_volatile(old) != exports.without_volatile(proof))


def others_that_refer_to(results: Path, readme: Path) -> list[str]:
    """A line for each document beside `results`, which is of `readme` now, that names it too."""
    found = []
    for other in sorted(results.parent.glob("*.md")):
        with suppress(OSError, UnicodeDecodeError):
            if other.resolve() != readme.resolve() and f"]({results.name})" in other.read_text():
                found.append(
                    f"note: {other} refers to {results} too, which now is of {readme}: keep each "
                    "in a folder of its own"
                )
    return found


def stale_pictures(folder: Path, pictures: Iterable[Picture]) -> list[str]:
    """A line for each file of a picture that is missing or shows something else."""
    found = (
        plots.problem(folder, picture, suffix) for picture in pictures for suffix in plots.SUFFIXES
    )
    return [line for line in found if line is not None]


def stale_page(path: Path, outline: bytes) -> list[str]:
    """A line where the page at `path` is not that of `outline`, a page of undrawn pictures."""
    try:
        old = path.read_bytes()
    except OSError:
        return [f"{path} is missing"]
    same = html.without_drawings(old) == html.without_drawings(outline)
    return [] if same else [f"{path} is stale"]

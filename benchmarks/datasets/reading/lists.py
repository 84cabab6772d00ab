"""Lists of labelled images, as MMSelfSup and Caffe users have them: `relative/path label` lines.

Shared by the datasets with one label an image. Fast enough for millions of lines: nothing is done
line by line in Python but splitting, and no image is looked up but the first of each list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.datasets.reading.folders import require_directory
from benchmarks.input_files import is_there, read_file, require_file
from slurm.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LabelledList:
    """Paths relative to some root and their labels, (N,) int64, in the order of `source`."""

    source: Path
    paths: tuple[str, ...]
    labels: "NDArray[np.int64]"
    classes: tuple[str, ...] = ()  # names, where the source itself tells them
    notes: tuple[str, ...] = ()  # what of the source was not read
    inodes: Sequence[int] = ()  # of the files, where their folders were read


def place(listed: LabelledList, row: int) -> str:
    """The file of an image's entry, and its line where it has one."""
    if listed.classes or listed.source.suffix == ".json":
        return str(listed.source)
    lines = read_lines(listed.source, "run again")
    return f"{listed.source} line {[n for n, line in enumerate(lines, 1) if line.strip()][row]}"


def read_lines(file: Path, remedy: str) -> list[str]:
    """Return the lines of a text file (blank ones too, so that numbers count) or `UserError`."""
    content = read_file(file, remedy)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UserError(f"{file} is not UTF-8 text but UTF-16; save it as UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        shown = content.split(b"\n")[line - 1][:80]
        raise UserError(
            f"{file} is not UTF-8 text: line {line} is {shown!r}; write the names in "
            f"UTF-8; {remedy}"
        ) from None
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # Only \n ends a line here: str.splitlines would also split at characters legal in file names.
    lines = text.split("\n")
    if not text.strip():
        raise UserError(f"{file} is empty; {remedy}")
    return lines


def read_list(file: Path) -> LabelledList:
    """Read `relative/path label` lines, each split at its last space.

    Blank lines are passed over, and repeated ones kept, for `make_dataset` to refuse; the slash
    with which every path of Places365's lists begins is left out. Raises `UserError` naming the
    file and the line for a missing or unusable label and for a path that leaves its root.
    """
    import numpy as np

    lines = read_lines(file, "it must hold lines 'relative/path label'")
    try:
        paths, digits = _split_plain(lines) or _split_any(lines)
    except ValueError:
        raise _first_bad_line(file, lines) from None
    joined = "".join(digits)
    if not (joined.isascii() and joined.isdigit()) or max(map(len, digits)) > 9:
        raise _first_bad_line(file, lines)
    if paths[0].startswith("/") and all(path.startswith("/") for path in paths):
        paths = [path.lstrip("/") for path in paths]
    if escapes(paths):
        raise _first_bad_line(file, lines)
    labels = np.fromiter(map(int, digits), dtype=np.int64, count=len(digits))
    return LabelledList(file, tuple(paths), labels)


def _split_plain(lines: list[str]) -> tuple[list[str], list[str]] | None:
    """Paths and labels where every line is `path label` with one space and no other; else None.

    Nearly all lists are; no object is made for a line but its two parts.
    """
    import numpy as np

    text = "\n".join(lines).strip("\n")
    if not text.isascii() or any(sign in text for sign in "\t\v\f\x1c\x1d\x1e\x1f"):
        return None
    signs = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    spaces, ends = np.flatnonzero(signs == 32), np.flatnonzero(signs == 10)
    ends = np.append(ends, len(signs))
    inside = len(spaces) == len(ends) and (spaces < ends - 1).all()
    if not (inside and (spaces[1:] > ends[:-1] + 1).all() and spaces[0] > 0):
        return None
    parts = text.replace(" ", "\n").split("\n")
    return parts[0::2], parts[1::2]


def _split_any(lines: list[str]) -> tuple[list[str], list[str]]:
    """As `_split_plain`, for all that is legal; `ValueError` for a line without a label."""
    fields = [line.rsplit(None, 1) for line in lines]
    paths = [path for path, _ in filter(None, fields)]
    return paths, [label for _, label in filter(None, fields)]


def escapes(paths: Sequence[str]) -> bool:
    """Whether a path is absolute or climbs out of its root; a cheap look before the exact one."""
    text = "\n".join(paths)
    suspicious = text.startswith("/") or "\n/" in text or ".." in text or "\0" in text
    return suspicious and any(map(_leaves_root, paths))


def _leaves_root(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/") or "\0" in path


def _first_bad_line(file: Path, lines: list[str]) -> UserError:
    rooted = all(line.startswith("/") for line in lines if line.strip())
    for number, line in enumerate(lines, 1):
        fields = line.rsplit(None, 1)
        if not fields:
            continue
        where = f"{file} line {number}"
        if len(fields) == 1:
            return UserError(
                f"{where} has no label: {fields[0][:80]!r}; lines are 'relative/path label' "
                "(an unlabelled list can stay beside a labelled one named *_labeled.txt)"
            )
        path, label = (fields[0].lstrip("/") if rooted else fields[0]), fields[1]
        if not (label.isascii() and label.isdigit()) or len(label) > 9:
            return UserError(
                f"{where}: the label {label[:80]!r} is not a class number from 0; "
                "lines are 'relative/path label'"
            )
        if _leaves_root(path):
            return UserError(
                f"{where}: the path {path[:80]!r} leaves the image folder; "
                "use paths relative to it, without '..' (all of a list may begin with one '/')"
            )
    raise AssertionError(f"no bad line in {file}")


def first_file(candidates: Sequence[Path]) -> Path | None:
    """Return the first candidate that is there, or None; `UserError` unless it is a file."""
    for path in candidates:
        if is_there(path.parent):
            require_directory(path.parent, f"it may hold {path.name}; mend or remove it")
        if is_there(path):
            require_file(path, "it should be a list of images; mend or remove it")
            return path
    return None


def find_root(listed: LabelledList, candidates: Sequence[Path]) -> Path:
    """Return the first candidate folder that holds the first listed image, or `UserError`."""
    first = listed.paths[0]
    for root in candidates:
        if _is_file(root / first):
            return root
    places = ", ".join(str(root) for root in candidates)
    raise UserError(
        f"{listed.source} names {first[:300]}, which is in none of: {places}; unpack the images "
        "there, or remove the list if class folders should be read instead"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long for any file
        return False

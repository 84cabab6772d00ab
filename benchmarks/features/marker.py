"""What says that extracted features are all there, and still what was extracted.

`complete.json` lies beside the feature files and is written last: the name of the extraction, which
is a hash of weights, transform and data, and the size and hash of every file. Whoever plans looks
at names and sizes; whoever reads a file compares its content. Markers of earlier builds hold sizes
alone, and what they mark is read as it always was.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from slurm.errors import UserError
from slurm.failures import UNREADABLE
from slurm.files import read_regular, write_bytes

COMPLETE = "complete.json"
PARTIAL = "partial.json"  # the same of an extraction that is under way


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file as it was written."""

    bytes: int
    blake2b: str


class Marker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of one extraction."""

    extraction: str  # the name of the folder that they were extracted into
    files: dict[str, File]


def is_complete(folder: Path) -> bool:
    """Whether a marker of this very extraction is there, and every file of the size it says."""
    marker = _read(folder / COMPLETE)
    if marker is None:
        return False
    if isinstance(marker, Marker):
        if marker.extraction != folder.name:
            return False
        sizes = {name: file.bytes for name, file in marker.files.items()}
    else:
        sizes = marker
    try:
        return bool(sizes) and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError):
        return False


def write_marker(folder: Path, paths: Iterable[Path], *, complete: bool) -> None:
    """Read all of `paths`, which lie in `folder`, and say what they hold."""
    files = {path.name: File(path.stat().st_size, _digest(path)) for path in paths}
    content = msgspec.json.encode(Marker(folder.name, files)) + b"\n"
    write_bytes(folder / (COMPLETE if complete else PARTIAL), content)
    if complete:
        (folder / PARTIAL).unlink(missing_ok=True)


def unchanged(folder: Path, names: Iterable[str]) -> bool:
    """Whether a marker of this extraction, complete or not, vouches for the content of files."""
    files: dict[str, File] = {}
    for name in (PARTIAL, COMPLETE):
        marker = _read(folder / name)
        if isinstance(marker, Marker) and marker.extraction == folder.name:
            files |= marker.files
    return all(name in files and _is_as_written(folder / name, files[name]) for name in names)


def require_unchanged(folder: Path, names: Iterable[str]) -> None:
    """`UserError` unless each file has the content that was extracted, where that is known."""
    marker = _read(folder / COMPLETE)
    remedy = f"python -m benchmarks.features remove {folder.parent.name}/{folder.name}"
    if marker is None or (isinstance(marker, Marker) and marker.extraction != folder.name):
        raise UserError(f"{folder / COMPLETE} is not of the features in its folder: {remedy}")
    if not isinstance(marker, Marker):
        return
    for name in names:
        if name not in marker.files or not _is_as_written(folder / name, marker.files[name]):
            raise UserError(
                f"{folder / name} is not what was extracted, though it is as long: {remedy}, and "
                "run again to extract it anew"
            )


def _read(path: Path) -> "Marker | dict[str, int] | None":
    """A marker of today's, the sizes of an earlier build's, or None for no valid marker."""
    try:
        content = read_regular(path)
    except OSError:
        return None
    with suppress(*UNREADABLE):
        return msgspec.json.decode(content, type=Marker)
    with suppress(*UNREADABLE):
        return msgspec.json.decode(content, type=dict[str, int])
    return None


def _is_as_written(path: Path, file: File) -> bool:
    try:
        return path.stat().st_size == file.bytes and _digest(path) == file.blake2b
    except (OSError, UserError):
        return False


def _digest(path: Path) -> str:
    from benchmarks.features.files import fingerprint

    return fingerprint(path)

"""Replace what stands between the markers of a README, and not one byte more.

A block is opened by a line `<!-- reports:NAME -->` and closed by `<!-- /reports:NAME -->`. Lines
inside fenced code are no markers, so that a README can show them. Everything is done on bytes:
line endings, byte-order mark and encoding stay as they are.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm.cli import choose
from slurm.errors import UserError
from slurm.outputs import write_output

_MARKER = re.compile(rb"[ \t]*<!--[ \t]*(/?)reports:([^\s>]*)[ \t]*-->[ \t]*\r?\n?")
_FENCE = re.compile(rb" {0,3}(`{3,}|~{3,})([^\r\n]*)")
_ANYWHERE = re.compile(rb"<!--[ \t]*/?reports:[^\s>]*[ \t]*-->")
_CODE = re.compile(rb"(`+)(?!`).*?(?<!`)\1(?!`)")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"

NEW_DOCUMENT = """\
# Model zoo

## Results and Models

The tables are written by `python -m reports` from the result records of the zoo.

<!-- reports:all -->

<!-- /reports:all -->
"""


@dataclass(frozen=True)
class Block:
    """A block of a README: its name and the bytes between its two marker lines."""

    name: str
    start: int
    end: int
    newline: bytes


def find_blocks(content: bytes, known: Iterable[str], path: Path) -> list[Block]:
    """The blocks of a README in order; `UserError` names the line of a wrong marker."""
    if content.startswith(_UTF16):
        raise UserError(f"{path} is UTF-16: save it as UTF-8")
    names = list(known)
    blocks: list[Block] = []
    opened: tuple[str, int, bytes, int] | None = None
    fence = b""
    offset = 0
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        start, offset = offset, offset + len(line)
        bare = line.removeprefix(_BOM) if start == 0 else line
        if opened is None:
            fence, was = _fence_after(fence, bare), fence
            if fence or was:
                continue
        match = _MARKER.fullmatch(bare)
        if match is None:
            _refuse_crowded(bare, f"{path}, line {number}")
            continue
        closing, name = bool(match[1]), match[2].decode("utf-8", "replace")
        where = f"{path}, line {number}"
        try:
            choose(name, names, "block")
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        if not closing:
            if opened is not None:
                raise UserError(
                    f"{where}: the block {opened[0]} of line {opened[3]} is not closed before this"
                )
            newline = line[len(line.rstrip(b"\r\n")) :] or b"\n"
            opened = (name, offset, newline, number)
        else:
            if opened is None or opened[0] != name:
                raise UserError(f"{where}: this closes a block {name} that is not open")
            blocks.append(Block(name, opened[1], start, opened[2]))
            opened = None
    if opened is not None:
        raise UserError(
            f"{path}, line {opened[3]}: the block {opened[0]} is never closed; "
            f"add <!-- /reports:{opened[0]} -->"
        )
    return blocks


def inject(content: bytes, blocks: Iterable[Block], texts: Mapping[str, str], path: Path) -> bytes:
    """`content` with the text of each block's name between its markers."""
    pieces: list[bytes] = []
    position = 0
    for block in blocks:
        text = f"\n{texts[block.name].strip()}\n\n"
        encoded = text.encode("utf-8").replace(b"\n", block.newline)
        if not encoded.isascii() and not _is_utf8(content):
            raise UserError(f"{path} is not UTF-8, and its tables need it: save it as UTF-8")
        pieces += [content[position : block.start], encoded]
        position = block.end
    pieces.append(content[position:])
    return b"".join(pieces)


def read(path: Path) -> bytes | None:
    """The bytes of a README, or None when there is none yet."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def write(path: Path, content: bytes) -> None:
    """Replace a README whole, through a symbolic link and with its mode kept."""
    write_output(path, content)


def difference(old: bytes, new: bytes, path: Path) -> str:
    """A unified diff, empty when nothing differs."""
    before, after = (
        text.decode("utf-8", "backslashreplace").splitlines(keepends=True) for text in (old, new)
    )
    lines = difflib.unified_diff(before, after, str(path), f"{path} (up to date)")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _refuse_crowded(line: bytes, where: str) -> None:
    """`UserError` for a marker, not shown as code, that does not stand alone on its line."""
    markers = _ANYWHERE.findall(_CODE.sub(b"", line))
    if markers:
        shown = " and ".join(marker.decode("utf-8", "replace") for marker in markers)
        line_of = "its line" if len(markers) == 1 else "a line each"
        raise UserError(
            f"{where}: {shown} must stand alone on {line_of}: the tables are written between the "
            "line of the opening marker and that of the closing one"
        )


def _fence_after(fence: bytes, line: bytes) -> bytes:
    """The code fence that is open after `line`, empty for none."""
    match = _FENCE.match(line)
    if match is None:
        return fence
    run, rest = match[1], match[2]
    if not fence:
        return b"" if run.startswith(b"`") and b"`" in rest else run
    closes = run[:1] == fence[:1] and len(run) >= len(fence) and not rest.strip()
    return b"" if closes else fence


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

"""Standard output and standard error that may be closed, full, or without a reader.

What a command says about its progress is no reason to lose its work.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, cast

STDOUT = "standard output"  # as the file that an error names
_closed: set[int] = set()  # descriptors that were closed when this process began


def was_closed(number: int) -> bool:
    """Whether descriptor `number` of a standard stream was closed when this process began."""
    return number in _closed


@contextmanager
def safe_streams() -> Iterator[None]:
    """Within the block a fault of standard output has its name, and standard error has none."""
    _fill_closed()
    before = sys.stdout, sys.stderr
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that are not UTF-8
    if sys.stdout is sys.__stdout__:
        sys.stdout = cast(TextIO, _Named(sys.stdout))
    if sys.stderr is sys.__stderr__:
        sys.stderr = cast(TextIO, _Unbreakable(sys.stderr))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def naming_stdout() -> Iterator[None]:
    """Within the block every `OSError` says that it is standard output's."""
    try:
        yield
    except OSError as error:
        error.filename = STDOUT
        raise


def write_stdout(content: bytes) -> None:
    """Write bytes to standard output, all of them now."""
    with naming_stdout():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def give_up_stdout() -> None:
    """Keep the interpreter from complaining at its end about what it cannot write."""
    _discard(1)


class _Stream:
    """A stream whose own methods do all that is not said here."""

    def __init__(self, stream: Any) -> None:
        self._stream: TextIO = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Named(_Stream):
    """Standard output whose errors say whose they are."""

    def write(self, text: str) -> int:
        with naming_stdout():
            return self._stream.write(text)

    def flush(self) -> None:
        with naming_stdout():
            self._stream.flush()


class _Unbreakable(_Stream):
    """Standard error that swallows what cannot be written."""

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            _discard(2)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            _discard(2)


def _discard(number: int) -> None:
    """Let descriptor `number` lead to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def _fill_closed() -> None:
    """Open what is closed, or a file of ours would get its number and what is printed there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _closed.add(number)
            with suppress(OSError):
                os.fstat(number)
                continue
            _discard(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

"""Weights and card of a checkpoint put into place together, whoever else registers meanwhile.

A new name is a folder that is made aside and renamed: of two that want one name, one wins, on
every file system. What replaces a checkpoint comes in three steps, each of which leaves card and
weights of one trunk wherever it is cut off: the weights under a name of their own content, the
card, and the weights under their plain name. A lock keeps two such replacements apart.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from benchmarks import results
from benchmarks.checkpoints.cards import Card, content_path
from slurm.files import write_bytes
from slurm.leftovers import remove_leftovers, temporary_beside


def place_new(folder: Path, card: Card, weights: bytes) -> bool:
    """Make the checkpoint's folder, whole; False when there is one already."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent)
    made = temporary_beside(folder)
    try:
        write_bytes(made / "weights.safetensors", weights)
        results.write(made / "card.json", card)
        made.rename(folder)
    except BaseException as error:
        shutil.rmtree(made, ignore_errors=True)
        if isinstance(error, OSError) and folder.is_dir():
            return False
        raise
    return True


def replace(folder: Path, card: Card, weights: bytes | None) -> None:
    """Put a card in place of another and, unless they are there already, its weights."""
    if weights is not None:
        write_bytes(content_path(folder, card.weights), weights)
    results.write(folder / "card.json", card)
    content = content_path(folder, card.weights)
    if content.exists():
        content.replace(folder / "weights.safetensors")
    for other in folder.glob("weights-*.safetensors"):
        other.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Take a folder away at once, then delete what is in it; hidden in between."""
    remove_leftovers(folder.parent)
    aside = temporary_beside(folder)
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


class Gone(Exception):
    """The folder was removed or renamed, perhaps while this process waited for it."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of the same block for `folder`; a dead one keeps nobody out.

    Raises `Gone` when there is no such folder. Where a file system has no locks, nobody is kept
    out.
    """
    while True:
        try:
            lock = (folder / ".lock").open("ab")
        except FileNotFoundError:
            raise Gone(folder) from None
        with lock:
            with suppress(OSError):
                fcntl.lockf(lock, fcntl.LOCK_EX)
            if _is_at(lock, folder / ".lock"):
                yield
                return


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is the one at `path`, and not that of a folder which is gone."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False

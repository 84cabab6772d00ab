"""The items of a run on disk: sealed pickles for our own workers, and a list that anyone can read.

    items/STAGE.bin     a mark, a table of offsets, then a seal and a pickle for each item
    items/STAGE.json    where each item leaves its results: all that `status` needs

Commands that only look read the list. A pickle is read by what computes, and not before its seal
has shown that this user wrote it, for this place of this run.
"""

import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from slurm.errors import UserError
from slurm.failures import UNREADABLE
from slurm.files import FileMark, file_mark, read_regular, write_bytes
from slurm.stored.pickles import dump_item, load_item
from slurm.stored.seals import TAG_BYTES, is_sealed, known_key, own_key, seal
from slurm.sweep import Item, Resources, parts_of

_MARK = b"sealed1\n"  # what earlier versions wrote begins with an offset
_OFFSET = struct.Struct("<Q")
_OFFSETS = struct.Struct("<QQ")  # where an item begins and ends


class ResultRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What can be known of one result of an item without loading the item."""

    result: str | None = None  # the file, from the working directory of the run; None: not known
    before: FileMark | None = (
        None  # of a result of something else that was there when the run began
    )

    def is_there(self) -> bool:
        """Whether the file is there, and not the one that was there before."""
        mark = None if self.result is None else file_mark(Path(self.result))
        return mark is not None and mark[1] > 0 and mark != self.before


ItemRecord = tuple[ResultRecord, ...]  # of an item, one for each of its parts


@dataclass(frozen=True)
class ListedItem:
    """An item of a run, to look at: the files of its results alone tell whether it is done."""

    stage: str
    key: str
    resources: Resources
    record: ItemRecord

    needs: tuple[Item, ...] = ()

    def done(self) -> bool:
        """Whether the results are there; the item itself, which cannot be asked, looks closer."""
        return bool(self.record) and all(result.is_there() for result in self.record)

    def run(self) -> None:
        """Cannot be done by this."""
        raise RuntimeError(f"{self.key} is listed to be looked at, and cannot be run from here")


def write_items(folder: Path, run: str, stage: int, items: Sequence[Item]) -> None:
    """Store the items of a stage of the run of that name in `folder`."""
    contents = [dump_item(item) for item in items]
    key = own_key()
    contents = [
        seal(key, content, run, stage, number) + content for number, content in enumerate(contents)
    ]
    offsets = [len(_MARK) + _OFFSET.size * (len(contents) + 1)]
    for content in contents:
        offsets.append(offsets[-1] + len(content))
    table = b"".join(_OFFSET.pack(offset) for offset in offsets)
    write_bytes(folder / f"{stage}.bin", _MARK + table + b"".join(contents))
    records = [[_record(part) for part in parts_of(item)] for item in items]
    write_bytes(folder / f"{stage}.json", msgspec.json.encode(records) + b"\n")


def load_one(folder: Path, run: str, stage: int, number: int) -> Item:
    """One item; `UserError` unless this user's own process stored it there."""
    with _open(folder, stage) as file:
        file.seek(len(_MARK) + _OFFSET.size * number)
        first, last = _bounds(folder, file.read(_OFFSETS.size))
        file.seek(first)
        content = file.read(max(0, min(last, os.fstat(file.fileno()).st_size) - first))
    return _unseal(known_key(), folder, run, stage, number, content)


def load_all(folder: Path, run: str, stage: int, count: int) -> list[Item]:
    """The items of a stage; `UserError` unless this user's own process stored them there."""
    with _open(folder, stage) as file:
        content = file.read()
    key, items = known_key(), []
    for number in range(count):
        place = _OFFSET.size * number
        first, last = _bounds(folder, content[place : place + _OFFSETS.size])
        first, last = first - len(_MARK), last - len(_MARK)
        items.append(
            _unseal(key, folder, run, stage, number, content[max(0, first) : max(0, last)])
        )
    return items


def list_records(folder: Path, stage: int, count: int) -> list[ItemRecord]:
    """What is listed of the items of a stage; `UserError` when there is no such list."""
    path = folder / f"{stage}.json"
    try:
        # Earlier versions wrote of each item one result that is in no list.
        found = msgspec.json.decode(read_regular(path), type=list[ItemRecord | ResultRecord])
    except FileNotFoundError:
        raise UserError(_too_old(folder)) from None
    except UNREADABLE as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if len(found) != count:
        raise UserError(f"{path} is damaged: it lists {len(found)} items, the manifest {count}")
    return [(record,) if isinstance(record, ResultRecord) else record for record in found]


def _record(item: Item) -> ResultRecord:
    result: Path | None = getattr(item, "result", None)
    if result is None:
        return ResultRecord()
    # A part can be done, where its whole is not.
    mark = file_mark(result)
    return ResultRecord(str(result), None if mark is None or item.done() else mark)


def _open(folder: Path, stage: int) -> BinaryIO:
    """The sealed items of a stage, behind the mark."""
    path = folder / f"{stage}.bin"
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path} is damaged: it is no regular file")
    if found.st_uid != os.getuid():
        raise UserError(f"{folder.parent} belongs to another user, who alone can continue it")
    file = path.open("rb")
    if file.read(len(_MARK)) != _MARK:
        file.close()
        raise UserError(_too_old(folder))
    return file


def _too_old(folder: Path) -> str:
    return (
        f"{folder.parent} was written by an earlier version, whose items prove no origin: start "
        "its command again (python -m slurm list shows it); what is done is not computed again"
    )


def _bounds(folder: Path, table: bytes) -> tuple[int, int]:
    if len(table) != _OFFSETS.size:
        raise UserError(f"{folder} is damaged: it lacks items that the manifest names")
    first, last = _OFFSETS.unpack(table)
    return first, last


def _unseal(key: bytes, folder: Path, run: str, stage: int, number: int, content: bytes) -> Item:
    tag, pickled = content[:TAG_BYTES], content[TAG_BYTES:]
    if not is_sealed(key, tag, pickled, run, stage, number):
        raise UserError(
            f"item {number + 1} of {folder}/{stage}.bin is not as you stored it on this machine "
            "(its seal is another one), so it is not loaded: start the run's command again; what "
            "is done is not computed again"
        )
    return load_item(pickled)

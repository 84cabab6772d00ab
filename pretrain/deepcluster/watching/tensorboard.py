"""The history as TensorBoard reads it: scalars in an event file, without the package.

An event file is a sequence of records, each a length, its checksum, the bytes and theirs; the bytes
are a protocol buffer `Event`. Of that format this writes what scalars need, which is little: the
`tensorboard` package would bring a web server and forty megabytes to every training job.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from pretrain.deepcluster.watching.history import History
from slurm.files import write_bytes

# Where each column of the history stands; another one stands under its own name.
TAGS = {
    "nmi_previous": "nmi/previous",
    "nmi_previous_arithmetic": "nmi/previous_arithmetic",
    "nmi_labels": "nmi/labels",
    "nmi_labels_arithmetic": "nmi/labels_arithmetic",
    "smallest": "clusters/smallest",
    "median": "clusters/median",
    "largest": "clusters/largest",
    "empty": "clusters/empty",
    "kmeans_objective": "clusters/kmeans_objective",
    "seconds": "seconds/epoch",
    "seconds_features": "seconds/features",
    "seconds_clustering": "seconds/clustering",
    "seconds_probe": "seconds/probe",
}
_NO_SCALARS = ("ended",)


def event_file(log: Path) -> Path:
    """Where the event file of the run with this log lies; TensorBoard is given its folder."""
    return log.parent / "tensorboard" / "events.out.tfevents.0.pretraining"


def write_events(path: Path, history: History) -> None:
    """Replace the file by one of all epochs so far: what a killed run left half-written is gone."""
    version = _record(_double(1, 0.0) + _text(3, b"brain.Event:2"))
    write_bytes(path, version + b"".join(_records(history, 0)))


def append_events(path: Path, history: History) -> None:
    """Append the last epoch: TensorBoard follows a file that grows, not one that is replaced."""
    if not path.exists():  # removed meanwhile
        write_events(path, history)
        return
    last = len(history["loss"]) - 1
    with path.open("ab") as file:
        file.write(b"".join(_records(history, last)))


def _records(history: History, first: int) -> Iterator[bytes]:
    """One event for each epoch from `first` on, with all scalars that it has."""
    for epoch in range(first, len(history.get("loss", []))):
        ended = history.get("ended", [])
        time = ended[epoch] if epoch < len(ended) and ended[epoch] is not None else 0.0
        values = b"".join(
            _text(1, _text(1, TAGS.get(name, name).encode()) + _float(2, float(column[epoch])))
            for name, column in history.items()
            if name not in _NO_SCALARS and isinstance(column[epoch], int | float)
        )
        yield _record(_double(1, time) + _whole(2, epoch + 1) + _text(5, values))


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    """CRC-32C, rotated and shifted as the format wants it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = [_table_entry(value) for value in range(256)]


# Fields of protocol buffers: a key of number and kind, then the value.
def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _text(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)

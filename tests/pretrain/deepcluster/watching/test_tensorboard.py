"""The event file, read by a parser of its own: records, checksums, protocol buffers."""

import struct
from pathlib import Path

from pretrain.deepcluster.watching.history import History
from pretrain.deepcluster.watching.tensorboard import append_events, event_file, write_events

HISTORY: History = {
    "loss": [2.5, 1.25, 0.5],
    "nmi_previous": [None, 0.5, 0.75],
    "empty": [0, 3, 300_000],
    "ended": [1e9, 1e9 + 60, None],
}


def crc32c(content: bytes) -> int:
    """Bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def records(content: bytes) -> list[bytes]:
    found = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        body, rest = content[12 : 12 + length], content[12 + length :]
        for part, check in ((content[:8], content[8:12]), (body, rest[:4])):
            crc = crc32c(part)
            rotated = ((crc >> 15) | (crc << 17)) % 2**32
            assert struct.unpack("<I", check)[0] == (rotated + 0xA282EAD8) % 2**32
        found.append(body)
        content = rest[4:]
    return found


def fields(content: bytes) -> list[tuple[int, object]]:
    """Number and value of each field of a protocol buffer."""
    found: list[tuple[int, object]] = []

    def varint() -> int:
        nonlocal content
        value = shift = 0
        while True:
            byte, content = content[0], content[1:]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while content:
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        raw, content = content[:size], content[size:]
        kind = {1: "<d", 5: "<f"}.get(key & 7)
        found.append((key >> 3, struct.unpack(kind, raw)[0] if kind else raw))
    return found


def scalars(path: Path) -> list[tuple[float, int, dict[str, float]]]:
    """Time, step and values of each event behind the first, which names the version."""
    first, *rest = [dict(fields(record)) for record in records(path.read_bytes())]
    assert first[3] == b"brain.Event:2"
    found = []
    for event in rest:
        values = {}
        for _, value in fields(event[5]):  # type: ignore[arg-type]
            pair = dict(fields(value))  # type: ignore[arg-type]
            values[pair[1].decode()] = pair[2]  # type: ignore[attr-defined]
        found.append((event[1], event[2], values))
    return found  # type: ignore[return-value]


def test_checksum_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_every_number_of_the_history_is_a_scalar(tmp_path: Path) -> None:
    path = event_file(tmp_path / "deepcluster.jsonl")
    write_events(path, HISTORY)
    assert scalars(path) == [
        (1e9, 1, {"loss": 2.5, "clusters/empty": 0.0}),
        (1e9 + 60, 2, {"loss": 1.25, "nmi/previous": 0.5, "clusters/empty": 3.0}),
        (0.0, 3, {"loss": 0.5, "nmi/previous": 0.75, "clusters/empty": 300_000.0}),
    ]


def test_appended_epochs_make_the_same_file_and_a_start_mends_a_torn_one(tmp_path: Path) -> None:
    path = event_file(tmp_path / "whole" / "deepcluster.jsonl")
    write_events(path, HISTORY)
    grown = event_file(tmp_path / "grown" / "deepcluster.jsonl")
    write_events(grown, {})
    for epochs in (1, 2):
        append_events(grown, {name: values[:epochs] for name, values in HISTORY.items()})
    with grown.open("ab") as file:
        file.write(b"\x10\x00\x00")  # a kill in the middle of a record
    write_events(grown, {name: values[:2] for name, values in HISTORY.items()})
    append_events(grown, HISTORY)
    assert grown.read_bytes() == path.read_bytes()
    grown.unlink()
    append_events(grown, HISTORY)
    assert grown.read_bytes() == path.read_bytes()

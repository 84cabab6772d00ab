"""The end of a benchmark command: what a reader of its figures must know is said there."""

import msgspec

from benchmarks import protocols
from benchmarks.commands import MOST_NOTES, notes_of
from benchmarks.results import Checkpoint, Head, ProbeRecord


def record(name: str, *notes: str) -> ProbeRecord:
    protocol = protocols.IMAGENET_LINEAR
    return ProbeRecord(
        benchmark=protocol.benchmark,
        protocol=protocol.name,
        protocol_version=1,
        variant=protocol.variant,
        settings=msgspec.to_builtins(protocol),
        checkpoint=Checkpoint(name, "resnet18", "1234"),
        data={},
        seed=0,
        device="cpu",
        threads=1,
        versions={},
        commit=None,
        host="alpha",
        started="2024-01-01T00:00:00+00:00",
        seconds=1.0,
        notes=notes,
        heads={"feature1": Head(50.0, 60.0, 50.0, 1, (50.0,))},
        epochs=1,
    )


def test_a_note_is_said_once_for_all_that_share_it() -> None:
    found = [record("a", "8 processes", "half"), record("b", "8 processes"), record("c")]
    assert notes_of(found) == [
        "note on a imagenet_linear and 1 more: 8 processes",
        "note on a imagenet_linear: half",
    ]
    assert notes_of([record("c")]) == []


def test_many_and_long_notes_are_cut_and_counted() -> None:
    lines = notes_of([record("a", *(f"{number} {'x' * 5000}" for number in range(99)))])
    assert len(lines) == MOST_NOTES + 1
    assert lines[-1] == f"{99 - MOST_NOTES} more notes stand in the records"
    assert all(len(line) < 1100 for line in lines)

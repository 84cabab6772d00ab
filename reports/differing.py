"""What differs between the tables of one kind and variant that were measured otherwise."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.checkpoints.wording import shown
from benchmarks.protocols import ADDED
from benchmarks.results import ProbeRecord, Record, Split
from reports.collect import SETTINGS
from reports.measured import Measured
from reports.tables import code, escape

_MISSING = "(not recorded)"
MOST_NAMED = 3  # settings in a heading
MOST_LISTED = 40  # settings in a footnote: all of a protocol that this project knows


def otherwise(measured: Measured, parts: Mapping[str, str]) -> str:
    """What differs from the other tables, in the words of a heading; `parts` names each part."""
    words: dict[str, None] = {}
    for other in _references(measured):
        for part, record in _records(measured).items():
            of = f" of {parts[part]}" if len(measured.kind.parts) > 1 else ""
            if part not in other.found:
                continue
            there = other.found[part][0].record
            if record.protocol != there.protocol:
                words[f"protocol{of}"] = None
                continue
            if record.protocol_version != there.protocol_version:
                words[f"version of the protocol{of}"] = None
            names = list(_settings(record, there))
            if len(names) > MOST_NAMED:
                words[f"{len(names)} settings{of}"] = None
            elif names:
                words[f"{', '.join(shown(name, 80) for name in names)}{of}"] = None
        if list(_data(_splits(measured), _splits(other))):
            words["data"] = None
    return ", ".join(words)


def otherwise_notes(measured: Measured, parts: Mapping[str, str]) -> list[str]:
    """A footnote, Markdown, for each other table; those after the first say it of the first."""
    notes = []
    for other in _references(measured):
        facts = [
            f"{parts[part]} {fact}"
            for part, record in _records(measured).items()
            if part in other.found
            for fact in _facts(record, other.found[part][0].record)
        ]
        facts += _data(_splits(measured), _splits(other))
        if facts:
            notes.append(f"**Measured otherwise** than {other.table.number}: {'; '.join(facts)}.")
    return notes


def _references(measured: Measured) -> tuple[Measured, ...]:
    """The tables that one is held against: the first table; the first one against all others.

    Others too that share a protocol with it that the first table has not: what differs between
    those two would be said nowhere.
    """
    if measured.table.number.startswith("1 "):
        return measured.others
    first, rest = measured.others[:1], measured.others[1:]
    said = _shared(measured, first[0]) if first else set()
    return (*first, *(one for one in rest if _shared(measured, one) - said))


def _shared(measured: Measured, other: Measured) -> set[str]:
    """The parts that both have by one protocol."""
    there = _records(other)
    return {
        part
        for part, record in _records(measured).items()
        if part in there and record.protocol == there[part].protocol
    }


def _records(measured: Measured) -> dict[str, Record]:
    """By part: one of the records, which were all measured alike."""
    return {part: found[0].record for part, found in measured.found.items()}


def _splits(measured: Measured) -> dict[str, Split]:
    return {
        name: split for record in _records(measured).values() for name, split in record.data.items()
    }


def _facts(here: Record, there: Record) -> Iterator[str]:
    if here.protocol != there.protocol:
        yield f"by {code(here.protocol)} instead of {code(there.protocol)}"
        return
    if here.protocol_version != there.protocol_version:
        yield f"by version {here.protocol_version} of it instead of {there.protocol_version}"
    settings = _settings(here, there)
    if settings:
        changes = [
            f"{shown(name, 80)} {shown(mine, 80)} instead of {shown(theirs, 80)}"
            for name, (mine, theirs) in list(settings.items())[:MOST_LISTED]
        ]
        if len(settings) > MOST_LISTED:
            changes.append(f"and {len(settings) - MOST_LISTED} more")
        yield f"with {escape(', '.join(changes))}"


def _settings(here: Record, there: Record) -> dict[str, tuple[Any, Any]]:
    """The settings in which two records of one protocol differ, with dots for those of parts."""
    known = SETTINGS if here.protocol_version == there.protocol_version else SETTINGS - {"version"}
    mine, theirs = (dict(_flat(_before(record) | record.settings)) for record in (here, there))
    return {
        name: (mine.get(name, _MISSING), theirs.get(name, _MISSING))
        for name in dict.fromkeys((*mine, *theirs))
        if name.partition(".")[0] in known
        and mine.get(name, _MISSING) != theirs.get(name, _MISSING)
    }


def _before(record: Record) -> dict[str, Any]:
    """What stands for settings that came after older records had been written."""
    added = ADDED if isinstance(record, ProbeRecord) else {}
    return {name: list(one) if isinstance(one, tuple) else one for name, one in added.items()}


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings, and those of their parts, such as `test.crop`; no protocol goes deeper."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{part}", number) for part, number in value.items())
        else:
            yield name, value


def _data(here: Mapping[str, Split], there: Mapping[str, Split]) -> Iterator[str]:
    for name, mine in here.items():
        theirs = there.get(name, mine)
        if (mine.images, mine.classes) != (theirs.images, theirs.classes):
            yield (
                f"{mine.images:,} {escape(name)} images of {mine.classes} classes instead of "
                f"{theirs.images:,} of {theirs.classes}"
            )
        elif mine.sha256 != theirs.sha256:
            yield f"another list of {escape(name)} images"
        elif mine.sizes != theirs.sizes:
            yield f"{escape(name)} images of the same names and other sizes"

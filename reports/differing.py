"""What differs: from a protocol by its name, and between the tables of one kind and variant."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.catalog.records import changed_numbers
from benchmarks.checkpoints.wording import shown
from benchmarks.results import Split
from reports.clashes.alike import SETTINGS, conditions, measurement, settings_before
from reports.collect import Found
from reports.measured import Measured
from reports.tables import code, escape

NOT_RECORDED = "(not recorded)"
MOST_NAMED = 3  # settings in a heading
MOST_LISTED = 40  # settings in a footnote: all of a protocol that this project knows


def own_values(measured: Measured, part: str) -> list[str]:
    """What tells the figures of a part from other tables' by its protocol, with its values.

    As `precision tf32`, plain text: for one figure that is shown without those tables. Beside
    `changes_of` its record, so what these say is left out.
    """
    here = _records(measured)[part]
    said = {text.partition(" ")[0] for text in changed_numbers(here.record)}
    values: dict[str, str] = {}
    for other in measured.others:
        there = _records(other).get(part)
        if there is None or there.record.protocol != here.record.protocol:
            continue
        if there.record.protocol_version != here.record.protocol_version:
            values["version"] = f"version {here.record.protocol_version}"
        for name, (mine, _) in _settings(here, there).items():
            if name not in said:
                values[name] = f"{shown(name, 80)} {shown(mine, 80)}"
        for name, split in here.record.data.items():
            theirs = there.record.data.get(name, split)
            if list(_data({name: split}, {name: theirs})):
                mark = f"list {split.sha256[:8]}"
                if split.sha256 == theirs.sha256:
                    mark = f"files (hash of sizes {split.sizes[:8] or 'not recorded'})"
                size = f"{split.images:,} {name} images of {split.classes} classes"
                values[f"data.{name}"] = f"{size}, {mark}"
    return list(values.values())


def rows_by_condition(found: Iterable[Found], condition: str) -> dict[str, list[str]]:
    """The names of the rows of a part by their value of a condition, in their order.

    Of features that came as files nobody knows a precision: their rows have none.
    """
    rows: dict[str, list[str]] = {}
    for item in found:
        checkpoint = item.record.checkpoint
        if condition != "precision" or not checkpoint.weights.startswith("features:"):
            rows.setdefault(conditions(item.record)[condition], []).append(checkpoint.name)
    return rows


def otherwise(measured: Measured, parts: Mapping[str, str]) -> str:
    """What differs from the other tables, in the words of a heading; `parts` names each part."""
    words: dict[tuple[str, ...], None] = {}  # what differs, and of which part
    settings: dict[str, dict[str, None]] = {}  # by part
    data: dict[str, None] = {}
    for other in _references(measured):
        for part, here in _records(measured).items():
            if part not in other.found:
                continue
            there = other.found[part][0]
            if here.record.protocol != there.record.protocol:
                words["protocol", part] = None
                continue
            if here.record.protocol_version != there.record.protocol_version:
                words["version of the protocol", part] = None
            if names := _settings(here, there):
                words["", part] = None  # all of a part stand in the place of the first
                settings.setdefault(part, {}).update(dict.fromkeys(names))
        if list(_data(_splits(measured), _splits(other))):
            data["data"] = None
    many = len(measured.kind.parts) > 1
    texts = [
        (what or _listed(list(settings[part]))) + (f" of {parts[part]}" if many else "")
        for what, part in words
    ]
    return ", ".join([*texts, *data])


def _listed(names: Sequence[str]) -> str:
    """Settings in a heading."""
    if len(names) > MOST_NAMED:
        return f"{len(names)} settings"
    return ", ".join(shown(name, 80) for name in names)


def otherwise_notes(measured: Measured, parts: Mapping[str, str]) -> list[str]:
    """A footnote, Markdown, for each other table; those after the first say it of the first."""
    notes = []
    for other in _references(measured):
        facts = [
            f"{parts[part]} {fact}"
            for part, found in _records(measured).items()
            if part in other.found
            for fact in _facts(found, other.found[part][0])
        ]
        facts += _data(_splits(measured), _splits(other))
        if facts:
            notes.append(f"**Measured otherwise** than {other.table.number}: {'; '.join(facts)}.")
    return notes


def _references(measured: Measured) -> tuple[Measured, ...]:
    """The tables that one is held against: the first table; the first one against all others.

    Others too that share a protocol with it that the first table has not, or that conditions or
    known sizes of files alone tell from it: what differs between those two would be said nowhere.
    """
    if measured.table.number.startswith("1 "):
        return measured.others
    first, rest = measured.others[:1], measured.others[1:]
    said = _shared(measured, first[0]) if first else set()
    return (
        *first,
        *(
            one
            for one in rest
            if _shared(measured, one) - said
            or _told_apart(measured, one)
            or _of_other_files(measured, one)
        ),
    )


def _shared(measured: Measured, other: Measured) -> set[str]:
    """The parts that both have by one protocol."""
    there = _records(other)
    return {
        part
        for part, found in _records(measured).items()
        if part in there and found.record.protocol == there[part].record.protocol
    }


def _told_apart(measured: Measured, other: Measured) -> bool:
    """Whether a part of both has one measurement."""
    there = _records(other)
    return any(
        measurement(found.record) == measurement(there[part].record)
        for part, found in _records(measured).items()
        if part in there and found.apart and found.measurement != there[part].measurement
    )


def _of_other_files(measured: Measured, other: Measured) -> bool:
    """Whether images of one list are known to be other files; an earlier build's may be either."""
    there = _splits(other)
    return any(
        mine.sha256 == theirs.sha256 and mine.sizes and theirs.sizes and mine.sizes != theirs.sizes
        for name, mine in _splits(measured).items()
        if (theirs := there.get(name)) is not None
    )


def _records(measured: Measured) -> dict[str, Found]:
    """By part: one of the records, which were all measured alike."""
    return {part: found[0] for part, found in measured.found.items()}


def _splits(measured: Measured) -> dict[str, Split]:
    return {
        name: split
        for found in _records(measured).values()
        for name, split in found.record.data.items()
    }


def _facts(mine: Found, theirs: Found) -> Iterator[str]:
    here, there = mine.record, theirs.record
    if here.protocol != there.protocol:
        yield f"by {code(here.protocol)} instead of {code(there.protocol)}"
        return
    if here.protocol_version != there.protocol_version:
        yield f"by version {here.protocol_version} of it instead of {there.protocol_version}"
    settings = _settings(mine, theirs)
    if settings:
        changes = [
            f"{shown(name, 80)} {shown(one, 80)} instead of {shown(other, 80)}"
            for name, (one, other) in list(settings.items())[:MOST_LISTED]
        ]
        if len(settings) > MOST_LISTED:
            changes.append(f"and {len(settings) - MOST_LISTED} more")
        yield f"with {escape(', '.join(changes))}"


def _settings(one: Found, other: Found) -> dict[str, tuple[Any, Any]]:
    """The settings in which two records of one protocol differ, with dots for those of parts.

    And the conditions that tell their tables apart.
    """
    here, there = one.record, other.record
    known = SETTINGS if here.protocol_version == there.protocol_version else SETTINGS - {"version"}
    mine, theirs = (dict(_flat(settings_before(x) | x.settings)) for x in (here, there))
    found = {
        name: (mine.get(name, NOT_RECORDED), theirs.get(name, NOT_RECORDED))
        for name in dict.fromkeys((*mine, *theirs))
        if name.partition(".")[0] in known
        and mine.get(name, NOT_RECORDED) != theirs.get(name, NOT_RECORDED)
    }
    ours, others = conditions(here), conditions(there)
    apart = {
        name: (ours[name] or NOT_RECORDED, others[name] or NOT_RECORDED)
        for name in dict.fromkeys((*one.apart, *other.apart))
        if ours[name] != others[name]
    }
    return found | apart


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings, and those of their parts, such as `test.crop`; no protocol goes deeper."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{part}", number) for part, number in value.items())
        else:
            yield name, value


def _data(here: Mapping[str, Split], there: Mapping[str, Split]) -> Iterator[str]:
    unknown = []
    for name, mine in here.items():
        theirs = there.get(name, mine)
        if (mine.images, mine.classes) != (theirs.images, theirs.classes):
            yield (
                f"{mine.images:,} {escape(name)} images of {mine.classes} classes instead of "
                f"{theirs.images:,} of {theirs.classes}"
            )
        elif mine.sha256 != theirs.sha256:
            yield f"another list of {escape(name)} images"
        elif mine.sizes and theirs.sizes and mine.sizes != theirs.sizes:
            yield f"{escape(name)} images of the same names but other files"
        elif mine.sizes != theirs.sizes:
            unknown.append(escape(name))
    if unknown:
        yield (
            f"the same list of {' and '.join(unknown)} images; one record is of an earlier build "
            "and does not tell the files apart"
        )

"""Why measured figures cannot be held against published ones, each reason in words."""

from collections.abc import Iterator

import msgspec

from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.catalog.records import changes_of
from benchmarks.checkpoints.wording import shown
from benchmarks.overrides import CUSTOM
from benchmarks.results import Record
from reports.clashes.alike import SETTINGS
from reports.measured import Measured
from reports.published import VARIANT
from reports.tables import code, escape


def reasons(measured: Measured) -> dict[str, str]:
    """By part of a table: what follows its name where no figure of it can be compared."""
    if measured.kind.own:
        return {}  # nobody else has these data: there is nothing to be held against
    found = {part: list(_reasons(items[0].record)) for part, items in measured.found.items()}
    return {part: "; it ".join(texts) for part, texts in found.items() if texts}


def _reasons(record: Record) -> Iterator[str]:
    """Markdown, each beginning with `was`."""
    if record.variant == CUSTOM:
        changes = "".join(f" ({escape(text)})" for text in changes_of(record))
        yield f"was measured with numbers of your own{changes}"
    elif record.variant != VARIANT:
        yield (
            f"was measured by {code(record.protocol)} of the variant {code(record.variant)}; the "
            f"published figures are of {code(VARIANT)}"
        )
        return
    elif record.protocol not in PROTOCOLS:
        yield f"was measured by {code(record.protocol)}, a protocol that this version does not know"
    elif changed := _changes(record):
        yield (
            "was measured with other numbers than the protocol of that name has: "
            f"{escape(', '.join(changed))}"
        )


def _changes(record: Record) -> list[str]:
    """Numbers of a record that are not those of the protocol whose name it bears."""
    protocol = PROTOCOLS[record.protocol]
    numbers = msgspec.json.decode(msgspec.json.encode(protocol))
    changed = [
        f"{name} {shown(record.settings[name], 80)} instead of {shown(number, 80)}"
        for name, number in numbers.items()
        if name in SETTINGS and record.settings.get(name, number) != number
    ]
    if not changed and record.protocol_version != protocol.version:
        changed = [f"version {record.protocol_version} instead of {protocol.version}"]
    return changed

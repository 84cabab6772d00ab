"""What of a zoo hangs on the name of a checkpoint: results, cached features, saved states, logs."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.checkpoints.cards import Card
from benchmarks.checkpoints.fit import why_outdated
from benchmarks.registering.records import Result, records_of

FOLDERS = ("results", "features", "state", "logs")  # each holds one of the checkpoint's name


@dataclass(frozen=True)
class Hanging:
    """The results of a name: those of its checkpoint as it is now, and the others."""

    current: tuple[Result, ...]
    outdated: tuple[tuple[Result, str], ...]  # and why
    unreadable: tuple[str, ...]  # what is wrong with each

    @property
    def count(self) -> int:
        """All records, whatever they are worth."""
        return len(self.current) + len(self.outdated) + len(self.unreadable)

    def by_benchmark(self) -> str:
        """How many current results there are of each benchmark."""
        counts = Counter(result.record.benchmark for result in self.current)
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def hanging(zoo: Path, name: str, card: Card | None) -> Hanging:
    """The results of `name`; without a card none is out of date."""
    found, unreadable = records_of(zoo, name)
    reasons = [why_outdated(one.record.checkpoint, card) if card else None for one in found]
    return Hanging(
        tuple(one for one, reason in zip(found, reasons) if reason is None),
        tuple((one, reason) for one, reason in zip(found, reasons) if reason is not None),
        tuple(unreadable),
    )


def size(folder: Path) -> int:
    """Bytes of the files below a folder; what goes meanwhile does not count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


def size_text(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def outdated_lines(found: Hanging, name: str, shown: int = 8) -> list[str]:
    """What to say of results that no longer fit; empty when all do."""
    if not found.outdated:
        return []
    lines = [
        f"{len(found.outdated)} result(s) no longer fit and are left out of the tables; what is "
        f"missing is measured again by python -m benchmarks --ckpt {name}:"
    ]
    lines += [f"  {one.path} {reason}" for one, reason in found.outdated[:shown]]
    if len(found.outdated) > shown:
        lines.append(f"  ... and {len(found.outdated) - shown} more")
    return lines

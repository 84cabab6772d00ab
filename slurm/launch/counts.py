"""How many items of each stage stand how, as numbers and in words."""

from dataclasses import dataclass


@dataclass
class Counts:
    """How the items of one stage stand."""

    name: str
    total: int = 0
    done: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0


def brief(count: Counts) -> str:
    """`svm 3/10 done, 2 running, 1 failed`."""
    parts = [f"{count.name} {count.done}/{count.total} done"]
    parts += [f"{count.running} running"] if count.running else []
    parts += [f"{count.failed} failed"] if count.failed else []
    return ", ".join(parts)


def is_under_way(count: Counts) -> bool:
    """Whether some items of a stage are still open, and some are not only waiting."""
    return count.done + count.failed < count.total and count.waiting < count.total


def table(counts: list[Counts]) -> str:
    """One line per stage with the number of items in each state."""
    names = ("stage", "items", "done", "running", "waiting", "failed")
    rows = [names] + [
        (c.name, *(str(n) for n in (c.total, c.done, c.running, c.waiting, c.failed)))
        for c in counts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )

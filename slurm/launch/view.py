"""How a run stands, for people: a live bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

from slurm.launch.watch import Counts, Watch
from slurm.progress import progress, say

LINE_SECONDS = 30.0  # at least, between two lines in a log


class View:
    """Shows the counts of a watch while it is followed."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.live = sys.stderr.isatty()
        self.bar = progress(desc=watch.run.name, total=len(watch.items), disable=not self.live)
        self.said, self.line = 0.0, ""

    def __enter__(self) -> "View":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

    def show(self) -> None:
        """Show how the run stands now."""
        counts, reason = self.watch.counts(), self.watch.waiting_for()
        why = [f"waiting for {reason}"] if reason else []
        if self.live:
            self.bar.n = sum(count.done for count in counts)
            parts = [*map(brief, filter(is_under_way, counts)), *why]
            self.bar.set_postfix_str(", ".join(parts))
            return
        line = "; ".join([*map(brief, counts), *why])
        ended = not self.watch.open
        if line != self.line and (ended or time.monotonic() - self.said > LINE_SECONDS):
            self.said, self.line = time.monotonic(), line
            say(line)


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

"""How a run stands, for people: a live bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

from slurm.launch.counts import brief, is_under_way
from slurm.launch.watch import Watch
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

"""What is known of a run: which items are open, how SLURM last saw them, and what follows."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from slurm.failures import Failure
from slurm.launch.attempts import Attempt
from slurm.launch.counts import Counts
from slurm.launch.verdicts import SILENT_SECONDS, is_hopeless, is_stuck, judge
from slurm.progress import say
from slurm.runs import ArrayRecord, Place, Run
from slurm.scheduler.commands import Scheduler, SchedulerDown, TaskId, TaskState
from slurm.scheduler.settings import Request
from slurm.sweep import Item, progress_mark

STARTS = 4  # submissions of one item by one launcher that ended without any progress
MOST_STARTS = 200  # its submissions in all
FULL_CHECK_SECONDS = 60.0  # between looks at the results of items that still wait
# Another launcher may be at it that long: sbatch has five minutes, and the files of an array's
# tasks are put into place after it.
SUBMISSION_SECONDS = 900.0


class Watch:
    """The state of a run, as one process sees it."""

    def __init__(
        self,
        run: Run,
        scheduler: Scheduler,
        requests: Sequence[Request],
        tell: Callable[[str], None] = say,
        items: dict[Place, Item] | None = None,
    ) -> None:
        self.run, self.scheduler, self.requests, self.tell = run, scheduler, requests, tell
        self.items = run.load_items() if items is None else items
        self.places = {item.key: place for place, item in self.items.items()}
        self.open = {place for place, item in self.items.items() if not item.done()}
        self.failures: dict[str, Failure] = {}
        self.arrays: dict[str, ArrayRecord] = {}  # by label
        self.cut: dict[str, ArrayRecord] = {}  # by label: their submission never ended
        self.attempts: dict[Place, Attempt] = {}
        self.starts: dict[Place, int] = {}  # by this process
        self.excused: dict[Place, int] = {}  # starts that were lost, but for no fault of the item
        self.live: dict[TaskId, TaskState] = {}
        self.absent: dict[Place, float] = {}  # since when SLURM does not list its task
        self.answered = self.changed = self._checked = time.monotonic()
        self.silence = ""  # why SLURM did not answer the last time that it did not
        self._marks: dict[Place, object] = {}  # what was saved when the latest attempt began
        self._unsettled: dict[str, float] = {}  # names of jobs without a whole record, since when

    def look(self) -> bool:
        """Ask SLURM, then read arrays and results; False when SLURM did not answer."""
        known = True
        try:
            before, self.live = self.live, self.scheduler.live(f"{self.run.name}.")
            self.answered = time.monotonic()
            self.changed = self.changed if self.live == before else self.answered
        except SchedulerDown as down:
            known = False
            if time.monotonic() - self.answered > 60:
                self.tell(f"SLURM does not answer ({down}); still trying")
            self.silence = str(down)
        self._look_at_arrays()
        self._look_at_results()
        return known

    def note(self, array: ArrayRecord) -> None:
        """Take an array into account: its tasks are attempts at their items."""
        self.arrays[array.label] = array
        for index, number in enumerate(array.numbers):
            place = Place(array.stage, number)
            attempt = self.attempts.get(place)
            # The record of another launcher may be seen late, after we submitted the item again.
            if attempt is None or attempt.array.submitted <= array.submitted:
                self.attempts[place] = Attempt(array, index)
                self._marks[place] = progress_mark(self.items[place])

    def orphans(self) -> list[str]:
        """The jobs of submissions that never ended: submitit did not give them their work."""
        recorded = {array.job_name for array in self.arrays.values()}
        cut = {array.job_name for array in self.cut.values()}
        found = set()
        for task, state in self.live.items():
            name = task.job_name
            if name in cut or (name not in recorded and self._is_overdue(name)):
                found.add(state.job.partition("_")[0])
        return sorted(found)

    def forget_ended(self) -> None:
        """Give open items whose tasks SLURM does not list a new start, also those that failed."""
        for place in self.open:
            attempt = self.attempts.get(place)
            if attempt and attempt.array.job and attempt.task not in self.live:
                del self.attempts[place]

    def judge_absent(self, *, resubmit: bool) -> None:
        """Decide about open items whose latest task SLURM does not list (or will never start).

        Without `resubmit` only those are closed for which another start would end the same.
        """
        now = time.monotonic()
        gone: dict[Place, Attempt] = {}
        stuck: list[str] = []
        for place in sorted(self.open, key=order):
            attempt = self.attempts.get(place)
            state = self.live.get(attempt.task) if attempt else None
            if attempt is None:
                continue
            if state is None:
                if attempt.array.job:
                    gone[place] = attempt
                    self.absent.setdefault(place, now)
                continue
            self.absent.pop(place, None)
            if resubmit and is_stuck(state):
                stuck.append(state.job)
                self._lose(place, f"would wait for ever ({state.state}: {state.reason})")
            elif resubmit and is_hopeless(state, attempt.asked(self.requests[place.stage])):
                stuck.append(state.job)
                self._give_up(place, state)
        self.scheduler.cancel(stuck)
        failures = {p: self.run.failure(a.array, a.index) for p, a in gone.items()}
        silent = {a.array.job: a.array.job_name for p, a in gone.items() if failures[p] is None}
        try:
            ended, known = self.scheduler.ended(silent), True
        except SchedulerDown:
            ended, known = {}, False
        for place, attempt in gone.items():
            if not known and failures[place] is None and now - self.absent[place] < SILENT_SECONDS:
                continue
            failure, request = failures[place], self.requests[place.stage]
            verdict = judge(
                failure,
                ended.get(attempt.task),
                now - self.absent[place],
                attempt.asked(request),
                self.items[place].resources.resumable,
                renewed=attempt.asked(request) != request,
            )
            if verdict.kind == "failed":
                self.fail(place, verdict.reason, failure is not None and failure.mendable)
            elif verdict.kind == "again" and resubmit:
                if failure is not None and failure.waiting:
                    early = self._reopen_inputs(place)
                    self._lose(place, verdict.reason, counts=not early, quiet=early)
                else:
                    self._lose(place, verdict.reason, counts=verdict.counts)

    def fail(self, place: Place, reason: str, mendable: bool = False) -> None:
        """Close an item that will not be done."""
        key, attempt = self.items[place].key, self.attempts.get(place)
        log = self.run.log(attempt.array, attempt.index) if attempt else None
        shown = str(log) if log is not None and log.exists() else ""
        self.block(Failure(key, reason, mendable, log=shown))
        self.tell(f"{key} failed: {reason}" + (f" (log: {shown})" if shown else ""))

    def block(self, failure: Failure) -> None:
        """Close the item of `failure`."""
        self.failures[failure.key] = failure
        self._close(self.places[failure.key])

    def counts(self) -> list[Counts]:
        """How the stages stand."""
        found = [Counts(stage.name) for stage in self.run.manifest.stages]
        for place, item in self.items.items():
            count = found[place.stage]
            count.total += 1
            if item.key in self.failures:
                count.failed += 1
            elif place not in self.open:
                count.done += 1
            elif self.is_running(place):
                count.running += 1
            else:
                count.waiting += 1
        return found

    def is_running(self, place: Place) -> bool:
        """Whether SLURM lists the item's latest task as anything but waiting."""
        attempt = self.attempts.get(place)
        state = self.live.get(attempt.task) if attempt else None
        return state is not None and state.state != "PENDING"

    def waiting_for(self) -> str:
        """The commonest reason of SLURM for which open items wait; empty when none waits."""
        states = (self.live.get(self.attempts[p].task) for p in self.open if p in self.attempts)
        reasons = Counter(s.reason for s in states if s is not None and s.state == "PENDING")
        del reasons["None"]  # SLURM has not looked at it yet
        return reasons.most_common(1)[0][0] if reasons else ""

    def _look_at_arrays(self) -> None:
        """Read the records that are new or were not whole; drop those that never will be."""
        whole = {label for label, array in self.arrays.items() if array.job}
        found = {array.label: array for array in self.run.arrays(whole | self.cut.keys())}
        for array in found.values():
            if array.job or not (array.submitter_is_dead() or self._is_overdue(array.job_name)):
                self.note(array)
            else:
                self.cut[array.label] = array
        for label in list(self.arrays):
            if label not in whole and (label in self.cut or label not in found):
                del self.arrays[label]
                for place, attempt in list(self.attempts.items()):
                    if attempt.array.label == label:
                        del self.attempts[place]

    def _is_overdue(self, job_name: str) -> bool:
        """Whether a job has been without a whole record for long, by our own clock."""
        now = time.monotonic()
        return now - self._unsettled.setdefault(job_name, now) > SUBMISSION_SECONDS

    def _look_at_results(self) -> None:
        """Close what is done. Items that still wait in the queue are looked at now and then."""
        full = time.monotonic() - self._checked > FULL_CHECK_SECONDS
        if full:
            self._checked = time.monotonic()
        for place in list(self.open):
            attempt = self.attempts.get(place)
            gone = attempt is not None and attempt.task not in self.live
            if (full or gone or self.is_running(place)) and self.items[place].done():
                self._close(place)

    def _give_up(self, place: Place, state: TaskState) -> None:
        """Of a task that will never start: it is submitted again if that would ask for others."""
        attempt, request = self.attempts[place], self.requests[place.stage]
        if attempt.asked(request) == request:
            attempt.note_hopeless(self.run, self.items[place].key, state.reason)
        else:
            self._lose(place, f"would never start ({state.reason})")

    def _reopen_inputs(self, place: Place) -> bool:
        """Whether inputs of an item are open; those whose results were damaged since are now."""
        missing = False
        for need in self.items[place].needs:
            before = self.places.get(need.key)
            if before is None or need.key in self.failures:
                continue
            if before not in self.open and not need.done():
                self.tell(f"{need.key} is no longer whole; computing it again")
                self.open.add(before)
                self.attempts.pop(before, None)
            missing = missing or before in self.open
        return missing

    def _lose(self, place: Place, reason: str, *, counts: bool = True, quiet: bool = False) -> None:
        """Forget the latest attempt, so that the item is submitted again if it still may be.

        One that `counts` brings the item nearer to its end, unless it saved some progress.
        """
        if not counts or progress_mark(self.items[place]) != self._marks.get(place):
            self.excused[place] = self.excused.get(place, 0) + 1
        starts = self.starts.get(place, 0)
        if starts >= MOST_STARTS or starts - self.excused.get(place, 0) >= STARTS:
            self.fail(place, f"{reason} ({starts} submissions)")
            return
        attempt = self.attempts.pop(place)
        self.absent.pop(place, None)
        if not quiet:
            self.tell(
                f"{self.items[place].key} {reason}; job {attempt.array.job}, submitting it again"
            )

    def _close(self, place: Place) -> None:
        self.open.discard(place)
        self.absent.pop(place, None)
        self.changed = time.monotonic()


def order(place: Place) -> tuple[int, int]:
    """A key that sorts places by stage, then by number."""
    return place.stage, place.number

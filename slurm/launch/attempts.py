"""One submission of an item: a task of an array."""

from dataclasses import dataclass

from slurm.failures import Failure, write_failure
from slurm.runs import ArrayRecord, Run
from slurm.scheduler.commands import TaskId
from slurm.scheduler.settings import Request


@dataclass(frozen=True)
class Attempt:
    """The latest submission of an item: a task of an array."""

    array: ArrayRecord
    index: int

    @property
    def task(self) -> TaskId:
        """Its name in SLURM."""
        return self.array.task(self.index)

    def asked(self, now: Request) -> Request:
        """What it asked of SLURM; `now`, what another one would ask for, if that is not known."""
        return self.array.request or now

    def note_hopeless(self, run: Run, key: str, reason: str) -> None:
        """Note that SLURM will never start it, for a `reason` of SLURM's.

        It is noted as the task itself would have done, where every process that looks finds it:
        the accounting will say no more than that it was cancelled.
        """
        stage = run.manifest.stages[self.array.stage].name
        why = (
            f"SLURM starts no task of stage {stage} as it is asked for ({reason}): ask for other "
            "resources, a partition, QOS or account"
        )
        write_failure(run.failure_file(self.array.label, self.index), Failure(key, why, True))

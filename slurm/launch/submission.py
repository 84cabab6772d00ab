"""The one file that knows submitit: it writes the sbatch script of an array and submits it.

submitit's own results, states and requeueing are not used; see `slurm.tasks` for what runs inside a
job and `slurm.launch.launcher` for who decides what is done.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slurm.errors import one_line
from slurm.scheduler.commands import is_down, is_unreachable
from slurm.scheduler.environment import as_from_a_login
from slurm.scheduler.settings import Request
from slurm.tasks.task import run_task
from slurm.threads import VARIABLES

SBATCH_SECONDS = 300
TIMED_OUT = 124  # exit code of timeout
_NOTICE_SECONDS = 90  # between SIGUSR2 and the time limit, for limits that leave room for it
_LIMIT = re.compile(r"submit.*limit|limit.*submit|MaxSubmit|MaxJobs|Invalid job array", re.I)


class Refused(Exception):
    """SLURM did not take the array.

    `busy`: it says itself that it may take it later, or fewer tasks at once. `unreachable`: it
    was not there, whatever the number of tasks.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))
        self.busy = bool(_LIMIT.search(message)) or is_down(message)
        self.unreachable = is_unreachable(message)


def submit_array(
    run: Path,
    label: str,
    job_name: str,
    request: Request,
    places: Sequence[tuple[int, int]],
    after: Sequence[str],
    threads: int | None,
) -> str:
    """Submit one task for each (stage, number) of `places`; the number of the job.

    The tasks start when the jobs `after` have ended, however they ended. Raises `Refused`.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = submitit.SlurmExecutor(folder=run / "arrays" / label)
    executor.update_parameters(**_parameters(request, job_name, after, threads))
    tasks = range(len(places))
    columns = zip(*((str(run), label, task, *places[task]) for task in tasks), strict=True)
    with as_from_a_login(sbatch_options(request)), _deadline_for_sbatch():
        try:
            jobs = executor.map_array(run_task, *columns)
        except (FailedJobError, FailedSubmissionError) as error:
            cause = error.__cause__
            if isinstance(cause, subprocess.CalledProcessError) and cause.returncode == TIMED_OUT:
                message = f"socket timed out: sbatch gave no answer in {SBATCH_SECONDS} s"
                raise Refused(message) from error
            raise Refused(str(error)) from error
    return str(jobs[0].job_id).partition("_")[0]


def sbatch_options(request: Request) -> dict[str, str | int]:
    """What `request` says to sbatch about resources, by the long names of its options."""
    own = request.settings
    options: dict[str, str | int | None] = {
        "partition": own.partition,
        "account": own.account,
        "qos": own.qos,
        "time": request.minutes,
        "nodes": request.nodes,
        "ntasks-per-node": request.tasks_per_node,
        "gpus-per-node": request.gpus_per_node or None,
        "cpus-per-task": own.cpus_per_task,
        "mem": f"{own.mem_gb}GB" if own.mem_gb else None,
    }
    extras = {key.replace("_", "-"): value for key, value in own.sbatch.items()}
    return {key: value for key, value in options.items() if value is not None} | extras


def _parameters(
    request: Request, job_name: str, after: Sequence[str], threads: int | None
) -> dict[str, object]:
    options: dict[str, object] = dict(sbatch_options(request))
    cpus = request.settings.cpus_per_task
    count = str(threads or cpus or "${SLURM_CPUS_PER_TASK:-1}")
    # Since SLURM 22.05 srun no longer takes --cpus-per-task from the job.
    srun = [f"--cpus-per-task={cpus}"] if cpus else []
    if after:
        options["dependency"] = "afterany:" + ":".join(after)
    return {
        "job_name": job_name,
        "time": request.minutes,
        "nodes": request.nodes,
        "ntasks_per_node": request.tasks_per_node,
        "array_parallelism": request.settings.array_parallelism,
        "signal_delay_s": min(_NOTICE_SECONDS, request.minutes * 30),
        "stderr_to_stdout": True,
        "use_srun": True,
        "wckey": None,
        # When one process of a distributed task has ended well, the others have time to follow:
        # rank 0 may have to save.
        "srun_args": ["--open-mode=append", "--kill-on-bad-exit=1", "--wait=600", *srun],
        "setup": [f"export {name}={count}" for name in VARIABLES] + ["export PYTHONUNBUFFERED=1"],
        "additional_parameters": options | {"requeue": True},
    }


@contextmanager
def _deadline_for_sbatch() -> Iterator[None]:
    """Let sbatch end: submitit waits for it for ever, and makes the executor of an array itself."""
    from submitit import SlurmExecutor

    original = SlurmExecutor._make_submission_command

    def command(executor: SlurmExecutor, path: Path) -> list[str]:
        return ["timeout", str(SBATCH_SECONDS), *original(executor, path)]

    SlurmExecutor._make_submission_command = command
    try:
        yield
    finally:
        SlurmExecutor._make_submission_command = original

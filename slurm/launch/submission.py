"""The one file that knows submitit, which writes the sbatch script of an array.

sbatch is run by us: submitit would wait for it for ever, and understands one wording of its answer.
submitit's own results, states and requeueing are not used; see `slurm.tasks` for what runs inside a
job and `slurm.launch.launcher` for who decides what is done.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slurm.errors import one_line
from slurm.scheduler.answers import job_numbers
from slurm.scheduler.commands import Scheduler, SchedulerDown, is_down, is_full, is_unreachable
from slurm.scheduler.environment import as_from_a_login
from slurm.scheduler.settings import Request
from slurm.tasks.task import run_task
from slurm.threads import VARIABLES

SBATCH_SECONDS = 300
TIMED_OUT = (124, 137)  # exit codes of timeout
LISTED_SECONDS = 15.0  # until the queue shows a job whose number sbatch did not tell
_NOTICE_SECONDS = 90  # between SIGUSR2 and the time limit, for limits that leave room for it
_LIMIT = re.compile(r"submit.*limit|limit.*submit|MaxSubmit|MaxJobs|Invalid job array", re.I)


class Refused(Exception):
    """SLURM did not take the array.

    `busy`: it says itself that it may take it later, or fewer tasks at once; `full`: when others
    of its jobs have ended. `unreachable`: it was not there, whatever the number of tasks. `lost`:
    it may have taken it all the same, and the queue could not be asked.
    """

    def __init__(self, message: str, *, lost: bool = False) -> None:
        super().__init__(one_line(message))
        self.busy = lost or bool(_LIMIT.search(message)) or is_down(message)
        self.full = is_full(message)
        self.unreachable = lost or is_unreachable(message)
        self.lost = lost


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

    executor = submitit.SlurmExecutor(folder=run / "arrays" / label)
    executor.update_parameters(**_parameters(request, job_name, after, threads))
    tasks = range(len(places))
    columns = zip(*((str(run), label, task, *places[task]) for task in tasks), strict=True)
    with as_from_a_login(sbatch_options(request)), _own_sbatch(job_name):
        jobs = executor.map_array(run_task, *columns)
    return str(jobs[0].job_id).partition("_")[0]


def run_sbatch(script: Path, job_name: str) -> str:
    """Submit `script`; the number of the job, which only the queue tells when sbatch does not.

    Raises `Refused` when there is no such job, or when that cannot be known now.
    """
    # In a group of its own, which ends with it: also what a wrapper of sbatch started.
    command = ["timeout", "-k", "10", str(SBATCH_SECONDS), "sbatch", str(script)]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    numbers, sure = job_numbers(f"{done.stdout}\n{done.stderr}")
    if done.returncode == 0 and sure and len(numbers) == 1:
        return numbers[0]
    said = one_line(done.stderr) or one_line(done.stdout)
    if done.returncode in TIMED_OUT:
        said = f"socket timed out: sbatch gave no answer in {SBATCH_SECONDS} s"
    if done.returncode == 0:
        said = f"sbatch told no number of a job, but {f'{said[:300]!r}' if said else 'nothing'}"
    try:
        listed = _listed(job_name, LISTED_SECONDS if done.returncode == 0 else 0.0)
    except SchedulerDown as down:
        if done.returncode == 0 and len(numbers) == 1:
            return numbers[0]
        unknown = done.returncode == 0 or is_down(said)
        reason = f"{said}; the queue cannot be asked for the job ({down})" if unknown else said
        raise Refused(reason, lost=unknown) from None
    if listed is None:
        raise Refused(said)
    return listed


def _listed(job_name: str, seconds: float) -> str | None:
    """The number of the job of that name, asked for until the queue shows it, or `seconds` long.

    Raises `SchedulerDown` when the queue gives no answer.
    """
    deadline, pause = time.monotonic() + seconds, 1.0
    while True:
        for task, state in Scheduler().live(job_name).items():
            if task.job_name == job_name:
                return state.job.partition("_")[0]
        if time.monotonic() + pause > deadline:
            return None
        time.sleep(pause)
        pause *= 2


def sbatch_options(request: Request) -> dict[str, str | int | bool]:
    """What `request` says to sbatch about resources, by the long names of its options."""
    own = request.settings
    options: dict[str, str | int | bool | None] = {
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
def _own_sbatch(job_name: str) -> Iterator[None]:
    """Within the block submitit, which makes the executor of an array itself, lets us run sbatch.

    The command that it then runs instead tells it the number in the words that it knows.
    """
    from submitit import SlurmExecutor

    original = SlurmExecutor._make_submission_command

    def command(executor: SlurmExecutor, script: Path) -> list[str]:
        return ["echo", f"Submitted batch job {run_sbatch(script, job_name)}"]

    SlurmExecutor._make_submission_command = command
    try:
        yield
    finally:
        SlurmExecutor._make_submission_command = original

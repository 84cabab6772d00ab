"""The environment in which SLURM's commands are run: that of a plain login shell.

SLURM reads options from it. Those of a job in which we may be ourselves, or of a user's profile,
would change what we submit (SBATCH_* wins over the lines of a script), hide jobs from our
questions (SQUEUE_*, SACCT_*), or tell a task that it is another one (RANK).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Which process of a distributed run this is, for torch.
RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
CLUSTERS = ("SLURM_CLUSTERS", "SBATCH_CLUSTERS")  # other clusters than the one we talk to

_HIDDEN = (
    *("SLURM_", "SRUN_", "PMI_", "PMIX_", "SUBMITIT_", "SBATCH_"),
    *("SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SCONTROL_"),
)
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
# What users set once and for all, by the option that replaces it.
_DEFAULTS = {
    "account": "SBATCH_ACCOUNT",
    "qos": "SBATCH_QOS",
    "reservation": "SBATCH_RESERVATION",
    "constraint": "SBATCH_CONSTRAINT",
}


def in_batch_job(environ: Mapping[str, str] | None = None) -> bool:
    """Whether sbatch started this, so that nobody waits at a terminal for what it does."""
    env = os.environ if environ is None else environ
    return "SLURM_JOB_ID" in env and env.get("ENVIRONMENT") == "BATCH"


def login_environment(
    environ: Mapping[str, str], options: Mapping[str, object] | None = None
) -> dict[str, str]:
    """`environ` without what would change a job that has these `options` of sbatch."""
    given = options or {}
    kept = {*_KEPT, *(name for option, name in _DEFAULTS.items() if option not in given)}
    return {
        name: value
        for name, value in environ.items()
        if name in kept or not (name in RANKS or name.startswith(_HIDDEN))
    }


@contextmanager
def as_from_a_login(options: Mapping[str, object]) -> Iterator[None]:
    """Within the block this process has that environment, for submitit, which takes it as it is."""
    kept = login_environment(os.environ, options)
    hidden = {name: value for name, value in os.environ.items() if name not in kept}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)

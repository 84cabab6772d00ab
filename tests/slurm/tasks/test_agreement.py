"""Processes of torchrun, one of which fails: nobody waits for ever, and the reason is its own."""

from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).parents[3]

PROGRAM = """
import os, sys, time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from slurm.tasks import agreement
from slurm.cli import run_command
from slurm.distributed import barrier, find_world, process_group
from slurm.errors import UserError
from slurm.executor import Launch, run_sweep
from slurm.sweep import Resources
from tests.slurm.items import Number
from tests import processes

if sys.argv[2] == "waits":  # else rank 0 ends by itself, on a busy machine after more than that
    agreement._GRACE = timedelta(seconds=2)

@dataclass(frozen=True)
class Together(Number):
    def run(self):
        import torch
        with process_group(find_world(), torch.device("cpu")):
            if os.environ["RANK"] == "1":
                raise UserError("3.jpg is truncated; replace the file")
            if sys.argv[2] == "waits":
                time.sleep(600)  # as in a collective of nccl
            barrier()

folder = Path(sys.argv[1])
goals = [Together(folder, "both", resources=Resources(distributed=True)), Number(folder, "other")]
run_command(lambda argv: run_sweep(goals, Launch("inline")))
"""


@pytest.mark.parametrize("first", ["meets an error", "waits"])
def test_a_mistake_that_another_process_meets_ends_the_item(tmp_path: Path, first: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = processes.run(program, tmp_path / "zoo", first, processes=2, cwd=ROOT)
    assert done.returncode != 0
    assert "\nerror: 3.jpg is truncated; replace the file\n" in done.stderr
    assert not (tmp_path / "zoo" / "both.txt").exists()
    # What else there is to run is run, unless the process that decides had to be ended.
    assert (tmp_path / "zoo" / "other.txt").exists() == (first == "meets an error")

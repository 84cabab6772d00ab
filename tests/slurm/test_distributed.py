"""Who a process is, by launcher, and that the collectives agree among real processes."""

import re
import textwrap
from pathlib import Path

import pytest

from slurm import distributed
from slurm.distributed import World, find_world, first_host
from slurm.errors import UserError
from tests import processes

ROOT = Path(__file__).parents[2]


def test_no_launcher_means_one_process() -> None:
    assert find_world({}) == World(rank=0, size=1, local_rank=0)
    assert find_world({}).first


def test_torchrun() -> None:
    env = {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "node7",
        "MASTER_PORT": "4242",
    }
    assert find_world(env) == World(5, 8, 1, "node7", 4242)


def test_srun_processes_of_a_step_meet_at_its_first_host() -> None:
    env = {
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "gpu[07-08]",
        "SLURM_JOB_ID": "123",
        "SLURM_STEP_ID": "0",
    }
    world = find_world(env)
    assert (world.rank, world.size, world.local_rank, world.address) == (3, 4, 1, "gpu07")
    other_rank = find_world({**env, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    assert other_rank.port == world.port
    for job in range(0, 100_000, 777):  # below the ephemeral ports, which others are given
        assert 20_000 <= find_world({**env, "SLURM_JOB_ID": str(job)}).port < 32_768
    assert find_world({**env, "SLURM_JOB_ID": "124"}).port != world.port
    assert find_world({**env, "MASTER_PORT": "99"}).port == 99


def test_batch_script_without_srun_is_one_process() -> None:
    # sbatch --ntasks=8 sets these in the batch script itself, where only one Python runs.
    env = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1", "SLURM_LOCALID": "0"}
    assert find_world(env).size == 1


def test_submitit_local() -> None:
    env = {
        "SUBMITIT_LOCAL_GLOBALID": "1",
        "SUBMITIT_LOCAL_LOCALID": "1",
        "SUBMITIT_LOCAL_NTASKS": "2",
        "SUBMITIT_LOCAL_JOB_ID": "777",
    }
    world = find_world(env)
    assert (world.rank, world.size, world.local_rank) == (1, 2, 1)
    assert world.address == "127.0.0.1"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n[03-05,9],m1", "n03"),
        ("login", "login"),
        ("a-b2,c", "a-b2"),
        ("rack[1,3]-gpu", "rack1-gpu"),
        ("n[7]", "n7"),
    ],
)
def test_first_host(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_first_host_of_nothing() -> None:
    with pytest.raises(UserError, match="MASTER_ADDR"):
        first_host("")


@pytest.mark.parametrize("rank", ["2", "-1", "x"])
def test_impossible_rank(rank: str) -> None:
    with pytest.raises(UserError, match="RANK"):
        find_world({"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": "0"})


def test_collectives_among_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "collectives.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import torch
            import torch.distributed as dist
            from slurm.distributed import (
                any_true, barrier, broadcast, broadcast_object, find_world, mean, process_group,
                raise_together,
            )
            from slurm.errors import UserError

            world = find_world()
            device = torch.device("cpu")
            with process_group(world, device):
                barrier()
                assert broadcast(torch.tensor([world.rank + 7])).tolist() == [7]
                assert broadcast_object({"rank": world.rank}) == {"rank": 0}
                assert any_true(world.rank == 1, device)
                assert not any_true(False, device)
                assert mean(torch.tensor([float(world.rank)])).tolist() == [0.5]
                raise_together([])
                try:
                    raise_together([UserError("of the second")] if world.rank else [])
                    raise AssertionError("nothing was raised")
                except UserError as error:
                    assert str(error) == "of the second"
                assert world.first == (dist.get_rank() == 0)
            assert not dist.is_initialized()
            sys.stdout.write(f"agreed {world.rank}.")  # in one piece
            """
        )
    )
    done = processes.run(script, processes=2)
    assert done.returncode == 0, done.stderr
    # The two may write at once, one into the line of the other.
    assert [done.stdout.count(f"agreed {rank}.") for rank in range(2)] == [1, 1]


def test_without_a_group_every_collective_is_the_identity() -> None:
    import torch

    device = torch.device("cpu")
    with distributed.process_group(World(), device):
        distributed.barrier()
        assert distributed.any_true(True, device)
        assert not distributed.any_true(False, device)
        assert distributed.broadcast_object(3) == 3
        assert distributed.mean(torch.tensor([2.0])).item() == 2.0
        distributed.raise_together([])
        with pytest.raises(UserError, match="its own"):
            distributed.raise_together([UserError("its own")])


DEVICES = """
import os, sys
from dataclasses import dataclass
from pathlib import Path
from slurm.cli import run_command
from slurm.distributed import agree_on_device, find_world, process_group
from slurm.errors import UserError
from slurm.executor import Launch, run_sweep
from slurm.sweep import Resources
from tests.slurm.items import Number

@dataclass(frozen=True)
class Together(Number):
    def run(self):
        import torch
        world = find_world()
        def find():
            if sys.argv[2] == "one is missing" and world.rank == 1:
                raise UserError("GPU 1 was asked for, but this machine has 1")
            # The sharp end is never reached: no machine of the tests needs a GPU.
            return torch.device("cuda", 0 if sys.argv[2] == "one is shared" else world.rank)
        device = agree_on_device(world, find)
        with process_group(world, device):
            raise AssertionError("a group was made")

try:
    goal = Together(Path(sys.argv[1]), "both", resources=Resources(distributed=True))
    run_command(lambda argv: run_sweep([goal], Launch("inline")))
finally:
    Path(sys.argv[1], "code" + os.environ["RANK"]).write_text(repr(sys.exc_info()[1].code))
"""


@pytest.mark.parametrize(
    ("case", "line"),
    [
        ("one is shared", r"processes 0 and 1 of 2 would share cuda:0 of \S+; start at most one"),
        ("one is missing", r"process 1 of 2: GPU 1 was asked for, but this machine has 1"),
    ],
)
def test_processes_agree_on_their_devices_before_there_is_a_group(
    tmp_path: Path, case: str, line: str
) -> None:
    """One line of one process, exit code 2 in all, and nothing of nccl's."""
    program = tmp_path / "program.py"
    program.write_text(DEVICES)
    done = processes.run(program, tmp_path, case, processes=2, cwd=ROOT)
    assert done.returncode != 0
    assert [(tmp_path / f"code{rank}").read_text() for rank in range(2)] == ["2", "2"]
    said = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert len(said) == 1, done.stderr
    assert re.match(f"error: {line}", said[0])
    # All else is torchrun's own word on how its children ended.
    assert "NCCL" not in done.stderr
    assert "AssertionError" not in done.stderr


@pytest.mark.parametrize(
    ("devices", "shared"),
    [
        (["a 0", "a 1", "b 0"], None),
        (["", "", ""], None),  # any number of processes on CPUs
        (["a 0", "a 1", "a 0"], "processes 0 and 2 of 3 would share cuda:9 of a"),
        (["", "a 0", "a 0"], "processes 1 and 2 of 3"),
    ],
)
def test_who_shares_a_device(devices: list[str], shared: str | None) -> None:
    reports = [{"host": "a", "name": "cuda:9", "device": device} for device in devices]
    reason = distributed._disagreement(reports)
    assert reason is None if shared is None else reason is not None and shared in reason

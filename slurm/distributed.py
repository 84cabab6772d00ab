"""One process per device: who this process is, and the few collectives that training needs.

The launcher is found in the environment: torchrun, submitit's local executor, SLURM's srun, or
nothing, which means one process and no process group. torch is imported only when it is needed.
"""

import datetime
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slurm.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, device
    from torch.distributed import Store  # type: ignore[attr-defined]

# How long one process may compute while the others wait, as k-means on millions of images does;
# torch's default is 10 minutes on GPUs. A process that dies is noticed at once by the launcher.
_PATIENCE = datetime.timedelta(hours=24)
_LEAVE = datetime.timedelta(seconds=60)  # for all to have read why none goes on
_FIRST_PORT, _PORTS = 20_000, 12_000  # all below the ephemeral ports of Linux, from 32768


@dataclass(frozen=True)
class World:
    """This process among `size` processes; `address` is where rank 0 listens."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among the processes of this machine: which GPU to take
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0


def find_world(environ: Mapping[str, str] | None = None) -> World:
    """The world that torchrun, submitit or srun describes; one process when none does."""
    env = os.environ if environ is None else environ
    if "RANK" in env and "WORLD_SIZE" in env:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        return _world(env, names, env.get("MASTER_ADDR", "127.0.0.1"), 29_500)
    if "SUBMITIT_LOCAL_GLOBALID" in env:
        names = ("SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_NTASKS", "SUBMITIT_LOCAL_LOCALID")
        job = env.get("SUBMITIT_LOCAL_JOB_ID", "0")
        return _world(env, names, "127.0.0.1", _port(job, "0"))
    # SLURM_STEP_NUM_TASKS is set by srun only: a batch script that starts one Python process is
    # one process, whatever --ntasks the job asked for.
    if "SLURM_STEP_NUM_TASKS" in env and "SLURM_PROCID" in env:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
        port = _port(env.get("SLURM_JOB_ID", "0"), env.get("SLURM_STEP_ID", "0"))
        return _world(env, names, _slurm_address(env), port)
    return World()


def _world(env: Mapping[str, str], names: tuple[str, str, str], address: str, port: int) -> World:
    rank, size, local = (_number(env, name) for name in names)
    if not 0 <= rank < size:
        raise UserError(
            f"{names[0]}={rank} is not below {names[1]}={size}; start every process with "
            "torchrun or srun, or unset these variables to run one process"
        )
    master = env.get("MASTER_PORT")
    return World(
        rank,
        size,
        local,
        env.get("MASTER_ADDR", address),
        port if master is None else _number(env, "MASTER_PORT"),
    )


def _number(env: Mapping[str, str], name: str) -> int:
    text = env.get(name, "0")
    try:
        return int(text)
    except ValueError:
        raise UserError(f"the environment variable {name}={text!r} is not a number") from None


def _port(job: str, step: str) -> int:
    """The same port in every process of a job step, another one in most other steps."""
    digits = [int(re.sub(r"\D", "", text) or 0) for text in (job, step)]
    return _FIRST_PORT + (digits[0] * 7 + digits[1]) % _PORTS


def _slurm_address(env: Mapping[str, str]) -> str:
    if env.get("SLURM_STEP_NUM_NODES", "1") == "1":
        return "127.0.0.1"
    return first_host(env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST") or "")


def first_host(nodes: str) -> str:
    """The first host of a SLURM node list: `n[03-05,9],m1` -> `n03`."""
    found = re.match(r"([^\[,\s]+)(?:\[(\d+)[^\]]*\]([^\[,\s]*))?", nodes)
    if not found:
        raise UserError(f"SLURM's node list {nodes!r} names no host; set MASTER_ADDR")
    return "".join(part or "" for part in found.groups())


_store: "Store | None" = None  # where the processes of the world meet, apart from any group
_meetings = 0  # there so far; the same number in every process


def _meet(world: World) -> "Store":
    """A part of the world's store that no earlier meeting used."""
    from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

    global _store, _meetings
    if _store is None:
        url = f"tcp://{world.address}:{world.port}"
        _store, _, _ = next(rendezvous(url, world.rank, world.size, timeout=_PATIENCE))
        _store.set_timeout(_PATIENCE)
    _meetings += 1
    return PrefixStore(f"meeting/{_meetings}", _store)


def agree_on_device(world: World, find: Callable[[], "device"]) -> "device":
    """This process's device, from `find`, once every process has found one of its own.

    Before any process group: in one, a process without a GPU would leave the others waiting, and
    two on one GPU would fail somewhere in nccl. Raises the same `UserError` in every process.
    """
    if world.size == 1:
        return find()
    store, found, mine = _meet(world), None, {}
    try:
        found = find()
        mine = {"host": socket.gethostname(), "name": str(found), "device": _physical(found)}
    except UserError as error:
        mine = {"mistake": str(error)}
    store.set(str(world.rank), json.dumps(mine))
    reports = [json.loads(store.get(str(rank))) for rank in range(world.size)]
    reason = _disagreement(reports)
    if reason is None and found is not None:
        return found
    # The process that holds the store leaves last.
    store.set(f"{world.rank} knows", "")
    with suppress(RuntimeError):
        store.wait([f"{rank} knows" for rank in range(world.size)], _LEAVE)
    raise UserError(reason or "the processes do not agree on their devices")


def _disagreement(reports: list[dict[str, str]]) -> str | None:
    """Why processes with these reports, by rank, cannot work together; None if they can."""
    holders: dict[str, int] = {}
    for rank, report in enumerate(reports):
        if "mistake" in report:
            return f"process {rank} of {len(reports)}: {report['mistake']}"
        first = holders.setdefault(report["device"], rank) if report["device"] else rank
        if first != rank:
            return (
                f"processes {first} and {rank} of {len(reports)} would share {report['name']} of "
                f"{report['host']}; start at most one process per GPU, or use --device cpu"
            )
    return None


def _physical(device: "device") -> str:
    """A name of the device among all machines, the same in every process; empty for the CPU."""
    if device.type == "cpu":
        return ""
    import torch

    boot = Path("/proc/sys/kernel/random/boot_id")
    machine = f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}"
    # Each process may see GPUs of its own as number 0: only the bus tells them apart.
    seen = f"{os.environ.get('CUDA_VISIBLE_DEVICES', 'all')} {device.index or 0}"
    if device.type == "cuda" and torch.cuda.is_available():
        found = torch.cuda.get_device_properties(device)
        names = ("pci_domain_id", "pci_bus_id", "pci_device_id")
        seen = " ".join(str(getattr(found, name, seen)) for name in names)
    return f"{machine} {device.type} {seen}"


@contextmanager
def process_group(world: World, device: "device") -> Iterator[None]:
    """Join the other processes (nccl on cuda, else gloo) and leave them at the end.

    A world of one process needs no group, and none is made. Raises `UserError` in every process
    when two of them hold one GPU.
    """
    if world.size == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    agree_on_device(world, lambda: device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=_meet(world),
        rank=world.rank,
        world_size=world.size,
        timeout=_PATIENCE,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def barrier() -> None:
    """Wait for all processes."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier()


def broadcast(tensor: "Tensor") -> "Tensor":
    """Overwrite `tensor` (same shape and dtype everywhere) by rank 0's, and return it.

    nccl needs it on the GPU.
    """
    import torch.distributed as dist

    if dist.is_initialized():
        dist.broadcast(tensor, src=0)
    return tensor


def broadcast_object(value: object) -> object:
    """Rank 0's `value` (small, picklable), in every process."""
    import torch.distributed as dist

    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def raise_together(mistakes: Sequence[UserError]) -> None:
    """Raise the first mistake of a process in every process; all must call it.

    Else the others would end in an error of the connection to the one that left.
    """
    import torch.distributed as dist

    mine = str(mistakes[0]) if mistakes else None
    said = [mine]
    if dist.is_initialized():
        said = [None] * dist.get_world_size()
        dist.all_gather_object(said, mine)
    for text in said:
        if text is not None:
            raise UserError(text)


def any_true(flag: bool, device: "device") -> bool:
    """Whether `flag` is true in any process."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        return flag
    votes = torch.tensor([int(flag)], device=device)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return bool(votes.item())


def total(values: "Tensor") -> "Tensor":
    """The sum of `values` over the processes, in place, and return it."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def mean(values: "Tensor") -> "Tensor":
    """The mean of `values` over the processes, in place, and return it."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values

"""Where tensors live."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from slurm.errors import UserError

if TYPE_CHECKING:  # its import takes two seconds, which what runs on cores alone can do without
    import torch
    from torch import Tensor

KNOWN = ("auto", "cpu", "cuda")


def resolve_device(name: str, index: int = 0) -> "torch.device":
    """The device that `--device` names: auto is cuda when there is one, else cpu.

    `index` chooses among the GPUs of this machine (the local rank of a distributed run). Raises
    `UserError` when cuda is asked for and absent, or when there is no GPU of that index.
    """
    import torch

    if name not in KNOWN:
        raise UserError(f"unknown device {name!r}; known: {', '.join(KNOWN)}")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no usable GPU; use --device cpu or auto")
    count = torch.cuda.device_count()
    if index >= count:
        raise UserError(
            f"--device {name}: GPU {index} was asked for, but this machine has {count}; "
            "start at most one process per GPU"
        )
    return torch.device("cuda", index)


def to_device(values: "Tensor", device: "torch.device") -> "Tensor":
    """`values` of the CPU on a device, from where the CPU need not wait for it."""
    if device.type != "cuda":
        return values.to(device)
    return (values if values.is_pinned() else values.pin_memory()).to(device, non_blocking=True)


def precision_on(device: "torch.device", wanted: str) -> str:
    """fp32, tf32 or amp: the `wanted` one, or where it is empty the device's own.

    That is tf32 on GPUs, as torch has it: convolutions round their inputs to 10 bits, matrix
    products do not. `UserError` for tf32 on a CPU, which has none.
    """
    if wanted == "tf32" and device.type != "cuda":
        raise UserError("--precision tf32 is of GPUs, and this runs on the CPU: leave it out")
    return wanted or ("tf32" if device.type == "cuda" else "fp32")


def device_name(device: "torch.device") -> str:
    """The name of a GPU, or CPU."""
    if device.type != "cuda":
        return "CPU"
    import torch

    name: str = torch.cuda.get_device_name(device)
    return name


def begin_peak(device: "torch.device | str") -> None:
    """Look for another peak of the GPU's memory from here on; nothing where none is in use."""
    torch = sys.modules.get("torch")
    if torch is not None and str(device).startswith("cuda") and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats(device)


def took(device: "torch.device | None") -> dict[str, Any]:
    """The fields of `results.Made` on the device: its name, and the peaks of memory in bytes.

    No device stands for the cores of what needs no torch. The host's peak is the process's own
    since it started, without those that decode images; None where the system does not tell.
    """
    gpu_bytes = None
    if device is not None and device.type == "cuda":
        import torch

        gpu_bytes = torch.cuda.max_memory_reserved(device)
    return {
        "device": "CPU" if device is None else device_name(device),
        "gpu_bytes": gpu_bytes,
        "host_bytes": _host_bytes(),
    }


def _host_bytes() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def free_bytes() -> int | None:
    """The memory that this process may still take; None where the system does not tell.

    That of the machine, and of the control groups that SLURM or a container put it in.
    """
    try:
        sizes = dict(line.split(":", 1) for line in _lines(Path("/proc/meminfo")))
        groups = [line.split(":", 2) for line in _lines(Path("/proc/self/cgroup"))]
        free = [1024 * int(sizes["MemAvailable"].split()[0])]
    except (OSError, ValueError, KeyError):
        return None
    for number, controllers, name in groups:
        known = V2 if number == "0" else V1 if controllers == "memory" else None
        if known is not None:
            own = Path(name.lstrip("/"))
            free += [left for group in (own, *own.parents) for left in known.left(group)]
    return max(0, min(free))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


class _Groups(NamedTuple):
    """Where a version of control groups says what it allows."""

    folder: Path
    limit: str
    used: str
    reclaimable: str  # in memory.stat: files that were read, which go when memory is needed

    def left(self, group: Path) -> list[int]:
        """The bytes that a group may still take, if it has a limit."""
        folder = self.folder / group
        with suppress(OSError, ValueError):  # it is not there, or its limit is "max"
            limit, used = (int((folder / name).read_text()) for name in (self.limit, self.used))
            stat = dict(line.split() for line in _lines(folder / "memory.stat"))
            return [limit - used + int(stat.get(self.reclaimable, 0))]
        return []


V1 = _Groups(
    Path("/sys/fs/cgroup/memory"),
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
)
V2 = _Groups(Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file")


@contextmanager
def products_of_heads(device: "torch.device", precision: str) -> Iterator[None]:
    """Within the block float32 products of a GPU may be tf32, under amp: inputs are of 10 bits.

    As wide as the half precision that amp gives the trunk; the sums stay float32.
    """
    if device.type != "cuda":  # where nothing is set, so nothing need be set back
        yield
        return
    import torch

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "amp"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def computing(device: "torch.device", precision: str) -> Iterator[None]:
    """Within the block convolutions and matrix products are of this precision."""
    import torch

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    try:
        with torch.autocast(device.type, enabled=precision == "amp"):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before

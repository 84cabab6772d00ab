"""Where tensors live."""

import torch
from torch import Tensor

from slurm.errors import UserError

KNOWN = ("auto", "cpu", "cuda")


def resolve_device(name: str, index: int = 0) -> torch.device:
    """The device that `--device` names: auto is cuda when there is one, else cpu.

    `index` chooses among the GPUs of this machine (the local rank of a distributed run). Raises
    `UserError` when cuda is asked for and absent, or when there is no GPU of that index.
    """
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


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """`values` of the CPU on a device, from where the CPU need not wait for it."""
    if device.type != "cuda":
        return values.to(device)
    return (values if values.is_pinned() else values.pin_memory()).to(device, non_blocking=True)

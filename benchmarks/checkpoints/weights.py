"""The tensors of a registered trunk: whether they fit, their fingerprint, their file."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from benchmarks.backbones.backbone import weight_shapes
from slurm.errors import UserError
from slurm.files import write_bytes

COUNTER = "num_batches_tracked"  # of batch norm; unused in evaluation, absent in old files


def fitted(
    state_dict: Mapping[str, Tensor], *, arch: str, sobel: bool, what: str
) -> dict[str, Tensor]:
    """The trunk's tensors, checked against the architecture: detached, contiguous, on the CPU.

    Floating-point tensors become float32. Keys may carry the prefix `trunk.` of
    `Backbone.state_dict()`. Raises `UserError`, which starts with `what`, when a tensor is missing,
    unexpected, of another shape or not finite.
    """
    shapes = weight_shapes(arch, sobel=sobel)
    tensors = {name.removeprefix("trunk."): tensor for name, tensor in state_dict.items()}
    for name, shape in shapes.items():
        if name.endswith(COUNTER) and name.replace(COUNTER, "running_mean") in tensors:
            tensors.setdefault(name, torch.zeros(shape, dtype=torch.int64))
    missing = [name for name in shapes if name not in tensors]
    unexpected = [name for name in tensors if name not in shapes]
    reshaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(shape)}"
        for name, shape in shapes.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if missing or unexpected or reshaped:
        lists = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
        found = "; ".join(f"{kind}: {shorten(names)}" for kind, names in lists.items() if names)
        matched = len(shapes) - len(missing) - len(reshaped)
        trunk = f"{arch}{' with Sobel stem' if sobel else ''}"
        raise UserError(f"{what} is no {trunk}: {matched} of {len(shapes)} keys match; {found}")
    tensors = {name: _plain(tensor) for name, tensor in sorted(tensors.items())}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{what} holds NaN or infinity in {name}: its training diverged")
    return tensors


def shorten(names: list[str], limit: int = 4) -> str:
    """The number of names and the first few of them."""
    more = f", .. {len(names) - limit} more" if len(names) > limit else ""
    return f"{len(names)} ({', '.join(names[:limit])}{more})"


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """blake2b (128 bits, hexadecimal) of names, dtypes, shapes and bytes, sorted by name."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Atomically write a safetensors file."""
    write_bytes(path, safetensors.torch.save(tensors))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; `UserError` when it is missing, truncated or malformed."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from error
    return tensors


def _plain(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, sharing no memory with another tensor; float32 if it is a float."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()

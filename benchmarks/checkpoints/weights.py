"""The tensors of a registered trunk: whether they fit, their fingerprint, their file."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from benchmarks.backbones.backbone import weight_shapes
from slurm.errors import UserError
from slurm.files import refuse_pointer

COUNTER = "num_batches_tracked"  # of batch norm; unused in evaluation, absent in old files
# Of counters, and of tables of positions; all else in a trunk is a weight or a statistic.
_WHOLE_NAMES = re.compile(rf".*({COUNTER}|_idxs?|_index)")
_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def fitted(
    state_dict: Mapping[str, Tensor], *, arch: str, sobel: bool, what: str
) -> dict[str, Tensor]:
    """The trunk's tensors, checked against the architecture: detached, contiguous, on the CPU.

    Floating-point tensors become float32. Keys may carry the prefix `trunk.` of
    `Backbone.state_dict()`. Raises `UserError`, which starts with `what`, when a tensor is missing,
    unexpected, of another shape, no floating-point number where the trunk has one, not finite, or
    a variance below zero.
    """
    shapes = weight_shapes(arch, sobel=sobel)
    tensors = {name.removeprefix("trunk."): tensor for name, tensor in state_dict.items()}
    for name, tensor in tensors.items():
        if name in shapes:
            _check_kind(name, tensor, what)
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
        raise UserError(
            f"{what} is no {trunk}: {matched} of {len(shapes)} keys match; {found}"
            f"{_without_heads(unexpected, shapes) if matched == len(shapes) else ''}"
        )
    tensors = {name: _plain(tensor) for name, tensor in sorted(tensors.items())}
    for name, tensor in tensors.items():
        _check_values(name, tensor, what)
    return tensors


def _without_heads(names: list[str], trunk: Iterable[str]) -> str:
    """How to leave out what stands beside a whole trunk; nothing where it stands within it."""
    heads = tuple(dict.fromkeys(f"{name.partition('.')[0]}." for name in names))
    if any(name.startswith(heads) for name in trunk):
        return ""
    return (
        "; a head is to be left out: {name: tensor for name, tensor in state_dict.items() "
        f"if not name.startswith({heads!r})}}"
    )


def _check_kind(name: str, tensor: Tensor, what: str) -> None:
    """Raise `UserError` unless the tensor holds real numbers that float32 stands for.

    Integers (of quantised or packed weights), booleans, complex and 8-bit numbers would be weights
    of another network without the scales that belong to them.
    """
    whole = _WHOLE_NAMES.fullmatch(name) is not None
    if tensor.is_nested or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise UserError(f"{what}: {name} is no dense tensor with values; save plain tensors")
    if tensor.dtype in _REAL or (whole and tensor.dtype in _WHOLE):
        return
    dtype = str(tensor.dtype).removeprefix("torch.")
    wanted = "whole numbers" if whole else "floating-point numbers of 16, 32 or 64 bits"
    raise UserError(
        f"{what}: {name} is of type {dtype}, where {wanted} belong; save the weights as they are "
        "used, in float32"
    )


def _check_values(name: str, tensor: Tensor, what: str) -> None:
    """Raise `UserError` for values that no training ends with."""
    if not tensor.is_floating_point():
        return
    if not bool(torch.isfinite(tensor).all()):
        raise UserError(f"{what} holds NaN or infinity in {name}: its training diverged")
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise UserError(
            f"{what} holds a negative variance in {name} ({float(tensor.min()):.3g}): the file "
            "is damaged, or these are not batch norm's statistics"
        )


def is_overflown_counter(name: str, tensor: Tensor) -> bool:
    """Whether it is a counter of batch norm that was turned to 16 bits with the weights.

    Above 65,504 steps it became infinite; evaluation does not use it.
    """
    counter = name.endswith(COUNTER) and tensor.is_floating_point()
    return counter and not bool(torch.isfinite(tensor).all())


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


def encoded(tensors: dict[str, Tensor]) -> bytes:
    """The content of a safetensors file."""
    content: bytes = safetensors.torch.save(tensors)
    return content


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; `UserError` when it is missing, truncated or malformed."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, KeyError, ValueError, OverflowError, RuntimeError) as error:
        size = path.stat().st_size
        with path.open("rb") as file:
            refuse_pointer(path, file.read(64))
        raise UserError(
            f"{path} is not a whole safetensors file ({size} bytes; copy or download it again): "
            f"{str(error).splitlines()[0][:120] if str(error) else type(error).__name__}"
        ) from error
    return tensors


def _plain(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, sharing no memory with another tensor; float32 if it is a float."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()

"""What came out of a checkpoint file, reduced to plain containers, values and dense tensors.

A file may set attributes on the dictionaries and tensors that it holds, and may hold tensors that
have no values of their own. None of that passes.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.checkpoints.pickled.stand_ins import Placeholder, Settings
from slurm.errors import UserError

_VALUES = (str, int, float, bool, complex, bytes, type(None))
_ARRAYS = ("._reconstruct", "._frombuffer", ".ndarray")  # what makes NumPy's arrays in a pickle
REPEATED = 16 << 20  # bytes that a tensor may show of fewer in the file, as expand() makes it


def plain(content: Any, path: Path) -> Any:
    """`content` of the file `path` as dict, list, tuple, values, tensors and `Placeholder`.

    The flags of a script (argparse.Namespace) are a dict of values and lists of values.

    Raises `UserError` for a tensor that is sparse, quantised, nested, without values (meta) or
    repeats few values many times, with the keys that lead to it; and for arrays of NumPy where
    tensors were expected. What stands under "optimizer" need not be such a tensor.
    """
    reduced = _Reduction(path)
    found = reduced.of(content, ())
    if reduced.arrays > reduced.tensors:
        raise UserError(
            f"{path} holds arrays of NumPy, not tensors; where it was made, save tensors: "
            "torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, "
            "'weights.pth')"
        )
    return found


class _Reduction:
    """Counts tensors and arrays on its way through the content."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tensors = 0
        self.arrays = 0
        self.done: dict[int, Any] = {}  # id of an object -> what became of it
        self.kept: list[Any] = []  # so that no other object gets the id of a finished one

    def of(self, value: Any, keys: tuple[str, ...]) -> Any:
        """The plain form of the object at `keys`."""
        if id(value) not in self.done:
            self.kept.append(value)
            self.done[id(value)] = self._of(value, keys)
        return self.done[id(value)]

    def _of(self, value: Any, keys: tuple[str, ...]) -> Any:
        if type(value) in _VALUES:
            return value
        if isinstance(value, dict):  # the methods of dict, whatever attributes the file set
            return {
                key: self.of(item, (*keys, str(key)))
                for key, item in dict.items(value)
                if type(key) in (*_VALUES, tuple)
            }
        if isinstance(value, list):
            return [self.of(item, (*keys, str(n))) for n, item in enumerate(list.__iter__(value))]
        if isinstance(value, tuple):
            return tuple(self.of(item, (*keys, str(n))) for n, item in enumerate(value))
        if isinstance(value, Tensor):
            return self._tensor(value, keys)
        if isinstance(value, Settings):
            return {name: flag for name, flag in value.flags.items() if _is_plain_flag(name, flag)}
        if isinstance(value, Placeholder):
            self.arrays += value.stands_for.endswith(_ARRAYS)
            return value
        return Placeholder()

    def _tensor(self, tensor: Tensor, keys: tuple[str, ...]) -> Tensor | Placeholder:
        self.tensors += 1
        fresh = Tensor.detach(tensor)  # without attributes of the file's, which hide methods
        kind = _odd_kind(fresh)
        if kind is None:
            return fresh
        if keys and keys[0].startswith("optim"):
            return Placeholder()
        where = ascii(".".join(keys))[1:-1][:120] or "its content"
        raise UserError(
            f"{self.path}: {where} is {kind}; where it was made, save plain tensors: dense, with "
            "their values"
        )


def _is_plain_flag(name: object, flag: object) -> bool:
    """Whether a flag of a script is a value, or a list of values."""
    values = tuple(flag) if isinstance(flag, list | tuple) else (flag,)
    return type(name) is str and all(type(value) in _VALUES for value in values)


def _odd_kind(tensor: Tensor) -> str | None:
    """What a tensor is that has no dense values; None for all others."""
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.layout != torch.strided:
        return "a sparse tensor"
    if tensor.is_quantized:
        return f"a quantised tensor ({str(tensor.dtype).removeprefix('torch.')})"
    if tensor.device.type != "cpu":
        return f"a tensor without values (on the device {tensor.device.type!r})"
    shown = tensor.numel() * tensor.element_size()
    if shown > max(REPEATED, tensor.untyped_storage().nbytes()):
        return f"a tensor of {shown} bytes that repeats few values"
    return None

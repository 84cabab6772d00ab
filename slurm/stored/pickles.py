"""Items on their way to another process of the same user: bytes that only our workers read.

An item is a frozen dataclass of an importable module. A command run by `python -m` sees its own
classes in the module `__main__`, which is another module in the worker: they travel under the
name by which the command was started.
"""

import importlib
import io
import pickle
import sys
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, cast

from slurm.errors import UserError
from slurm.sweep import Item


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: object) -> Any:
        if isinstance(obj, type) and obj.__module__ == "__main__":
            spec = getattr(sys.modules["__main__"], "__spec__", None)
            if spec is not None:
                return _find, (spec.name, obj.__qualname__)
        return NotImplemented


def _find(module: str, qualname: str) -> object:
    found: object = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def dump_item(item: Item) -> bytes:
    """`item` and the module search path of this process, for `load_item` in another one."""
    file = io.BytesIO()
    pickle.dump(sys.path, file)
    _Pickler(file).dump(item)
    return file.getvalue()


def load_item(content: bytes) -> Item:
    """The item that `dump_item` wrote; its modules are found where the writer found them.

    `UserError` when another version wrote it, in which its class stood elsewhere or had not all of
    its fields.
    """
    file = io.BytesIO(content)
    known = set(sys.path)
    sys.path += [path for path in pickle.load(file) if path not in known]
    try:
        item = pickle.load(file)
        _check_whole(item)
    except (AttributeError, ImportError, TypeError) as error:
        raise UserError(
            f"an item of this run cannot be loaded ({error}): another version of this project, or "
            "one in another environment, began it; start its command again (python -m slurm list "
            "shows it); what is done is not computed again"
        ) from error
    return cast(Item, item)


def _check_whole(part: object) -> None:
    """`AttributeError` unless all dataclasses within have their fields: pickle sets no defaults."""
    if isinstance(part, tuple | list):
        for one in part:
            _check_whole(one)
    else:
        for name in _field_names(type(part)):  # type: ignore[arg-type]
            _check_whole(getattr(part, name))


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    """The fields of a dataclass; none of any other class."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()

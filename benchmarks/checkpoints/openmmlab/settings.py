"""The settings in an OpenMMLab configuration, read as text: nothing in it is run.

A configuration is Python that assigns literals, dict(...) calls and earlier names. That much is
evaluated here; whatever else stands there becomes `Unread`, and so does every name that it may
have changed.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.checkpoints.openmmlab.changes import (
    Changes,
    additions,
    is_pure,
    mentioned,
    plain_names,
    refuse_anything,
)
from benchmarks.checkpoints.openmmlab.unread import Unread
from benchmarks.checkpoints.wording import shown

LONGEST = 1_000_000  # characters; real ones have a few thousand
_FILE_NAME = re.compile(r"^\S.*\.(py|json|ya?ml)\s*$", re.MULTILINE)  # mmcv's text names its files
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def read_settings(text: str) -> dict[str, Any]:
    """Name -> value of everything that a configuration assigns; `ValueError` if it is no Python.

    Text that names several files, as MMCV keeps it, is read file by file: a later dictionary is
    merged into the earlier one of its name, as `_base_` does.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    settings: dict[str, Any] = {}
    changes = Changes()
    for part in _FILE_NAME.sub("\0", text.replace("\0", " ")).split("\0"):
        try:
            tree = ast.parse(part)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"it is no Python: {shown(error)}") from error
        try:
            settings = merged(settings, _assigned(tree, settings, changes))
        except RecursionError as error:
            raise ValueError("it nests too deeply") from error
    return settings


def merged(old: Any, new: Any) -> Any:
    """`new` over `old`, dictionary by dictionary, as configurations inherit."""
    if isinstance(old, dict) and isinstance(new, dict) and not new.get("_delete_"):
        return old | {key: merged(old.get(key), value) for key, value in new.items()}
    if isinstance(new, dict):
        return {key: value for key, value in new.items() if key != "_delete_"}
    return new


def _assigned(tree: ast.Module, before: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """What the statements of one file assign."""
    refuse_anything(tree)
    values: dict[str, Any] = {}
    names: dict[str, Any] = dict(before)
    for statement in tree.body:
        new: dict[str, Any] = {}
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = plain_names(statement)
            new = dict.fromkeys(targets, _value(statement.value, names)) if targets else {}
        added = additions(statement)
        for name in changes.of(statement, names) - new.keys():
            old = names.get(name)
            if name in added and isinstance(old, list):
                more = [_value(node, names) for node in added[name]]
                new[name] = [*old, *more, Unread(f"what {name} holds, as changed later")]
            else:
                shares = [names[one] for one in sorted(mentioned(statement)) if one in names]
                new[name] = Unread(f"{name} as changed later", old, tuple(shares))
        values |= new
        names |= new
    return values


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of an expression, or `Unread`."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id, Unread(node.id))
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item, names) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Dict):
        return _dictionary(list(zip(node.keys, node.values)), names)
    if _calls_dict(node):
        words = [(word.arg and ast.Constant(word.arg), word.value) for word in node.keywords]  # type: ignore[attr-defined]
        return _dictionary(words, names)
    if isinstance(node, ast.Subscript):
        try:
            return _value(node.value, names)[_value(node.slice, names)]
        except (KeyError, IndexError, TypeError):
            return _unread(node, names)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _value(node.operand, names)
        if isinstance(number, int | float):
            return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp):
        return _arithmetic(node, names)
    return _unread(node, names)


def _unread(node: ast.expr, names: Mapping[str, Any]) -> Unread:
    held = set() if is_pure(node) else mentioned(node)
    shares = tuple(names[name] for name in sorted(held) if name in names)
    return Unread(ast.unparse(node)[:200], shares=shares)


def _calls_dict(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "dict"
        and not node.args
    )


def _dictionary(pairs: Sequence[tuple[Any, ast.expr]], names: Mapping[str, Any]) -> Any:
    """A dictionary of key and value nodes; no key says that the value is to be unpacked."""
    result: dict[Any, Any] = {}
    for node, inner in pairs:
        value = _value(inner, names)
        if node is not None:
            key = _value(node, names)
            if not isinstance(key, str | int | float | None):
                return Unread("a dictionary with such a key", result, (value,))
            result[key] = value
        elif isinstance(value, dict):
            result |= value
        else:
            return Unread(f"**{getattr(value, 'what', 'value')}", result, (value,))
    return result


def _arithmetic(node: ast.BinOp, names: Mapping[str, Any]) -> Any:
    left, right = _value(node.left, names), _value(node.right, names)
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    lists = isinstance(left, list) and isinstance(right, list) and isinstance(node.op, ast.Add)
    apply = _ARITHMETIC.get(type(node.op))
    if apply is None or not (numbers or lists):
        return _unread(node, names)
    try:
        return apply(left, right)
    except (ZeroDivisionError, OverflowError):
        return _unread(node, names)

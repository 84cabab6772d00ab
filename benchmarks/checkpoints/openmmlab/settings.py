"""The settings in an OpenMMLab configuration, read as text: nothing in it is run.

A configuration is Python that assigns literals, dict(...) calls and earlier names. That much is
evaluated here; whatever else stands there becomes `Unread`, and so does every name that it may
have changed.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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


class Unread:
    """Stands for a value that only running the configuration would tell."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __repr__(self) -> str:
        return f"<{shown(self.what, 60)}>"


def read_settings(text: str) -> dict[str, Any]:
    """Name -> value of everything that a configuration assigns; `ValueError` if it is no Python.

    Text that names several files, as MMCV keeps it, is read file by file: a later dictionary is
    merged into the earlier one of its name, as `_base_` does.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    settings: dict[str, Any] = {}
    for part in _FILE_NAME.sub("\0", text.replace("\0", " ")).split("\0"):
        try:
            tree = ast.parse(part)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"it is no Python: {shown(error)}") from error
        try:
            settings = merged(settings, _assigned(tree, settings))
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


def walk(value: Any) -> Iterator[Any]:
    """Every dictionary, list and leaf in `value`, itself first; what is shared comes once."""
    ahead, seen = [value], set()
    while ahead:
        item = ahead.pop()
        if isinstance(item, Mapping | list | tuple):
            if id(item) in seen:
                continue
            seen.add(id(item))
            ahead += list(item.values()) if isinstance(item, Mapping) else list(item)
        yield item


def _assigned(tree: ast.Module, before: Mapping[str, Any]) -> dict[str, Any]:
    """What the statements of one file assign."""
    values: dict[str, Any] = {}
    for statement in tree.body:
        names: Mapping[str, Any] = {**before, **values}
        if isinstance(statement, ast.Assign) and all(
            isinstance(target, ast.Name) for target in statement.targets
        ):
            value = _value(statement.value, names)
            values |= {target.id: value for target in statement.targets}  # type: ignore[attr-defined]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if statement.value is not None:
                values[statement.target.id] = _value(statement.value, names)
        else:
            values |= {name: Unread(f"{name} as changed later") for name in _changed(statement)}
    return values


def _changed(statement: ast.stmt) -> set[str]:
    """Names that a statement of any other kind may assign or change."""
    found: set[str] = set()
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return found
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.id)
        elif isinstance(node, ast.Subscript | ast.Attribute):
            root: ast.expr = node
            while isinstance(root, ast.Subscript | ast.Attribute | ast.Call):
                root = root.func if isinstance(root, ast.Call) else root.value
            found |= {root.id} if isinstance(root, ast.Name) else set()
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


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
        return _item(_value(node.value, names), _value(node.slice, names), node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _value(node.operand, names)
        if isinstance(number, int | float):
            return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp):
        return _arithmetic(node, names)
    return Unread(ast.unparse(node)[:200])


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
                return Unread("a dictionary with such a key")
            result[key] = value
        elif isinstance(value, dict):
            result |= value
        else:
            return Unread(f"**{getattr(value, 'what', 'value')}")
    return result


def _item(value: Any, key: Any, node: ast.expr) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        return Unread(ast.unparse(node)[:200])


def _arithmetic(node: ast.BinOp, names: Mapping[str, Any]) -> Any:
    left, right = _value(node.left, names), _value(node.right, names)
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    lists = isinstance(left, list) and isinstance(right, list) and isinstance(node.op, ast.Add)
    apply = _ARITHMETIC.get(type(node.op))
    if apply is None or not (numbers or lists):
        return Unread(ast.unparse(node)[:200])
    try:
        return apply(left, right)
    except (ZeroDivisionError, OverflowError):
        return Unread(ast.unparse(node)[:200])

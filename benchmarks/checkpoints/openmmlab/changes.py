"""Which names of a configuration a statement may change otherwise than by a plain assignment.

Beside those that it binds these are all that share a list or a dictionary with what it mentions: a
name can be another one's alias, and a function can change what it is given.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.checkpoints.openmmlab.unread import Unread

MOST_VISITS = 500_000  # of parts of values, in one configuration
# Calls that change nothing of what they are given, and hand no part of it on.
_PURE = ("len", "range", "str", "int", "float", "bool", "sum", "round", "abs", "deepcopy", "print")
# What can change any name, though none is to be seen.
_ANYTHING = ("exec", "eval", "globals", "locals", "vars", "setattr", "delattr")


def refuse_anything(tree: ast.Module) -> None:
    """`ValueError` for what may change any name without mentioning it."""
    for node in ast.walk(tree):
        name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
        if name in _ANYTHING:
            raise ValueError(f"it uses {name}, whose effect only running it would tell")


def plain_names(statement: ast.stmt) -> list[str]:
    """The names that a statement plainly assigns to; none unless all its targets are names."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return []
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names if len(names) == len(targets) else []


def mentioned(node: ast.AST) -> set[str]:
    """All names in a piece of a configuration."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


class Changes:
    """The changes of one configuration."""

    def __init__(self) -> None:
        self.left = MOST_VISITS

    def of(self, statement: ast.stmt, names: Mapping[str, Any]) -> set[str]:
        """The names of which only running the statement would tell what they are afterwards."""
        found = {name for node in ast.walk(statement) for name in _bound(node, names)}
        found -= set(plain_names(statement))
        for node in _suspects(statement):
            found |= {name for name in mentioned(node) if self._has_parts(names.get(name))}
        shared = {id(part) for name in found for part in self._parts(names.get(name))}
        for name in additions(statement):
            found.add(name)
            shared.add(id(names.get(name)))  # what was in it stays as it is
        if not shared:
            return found
        return found | {
            name
            for name, value in names.items()
            if name not in found and any(id(part) in shared for part in self._parts(value))
        }

    def _has_parts(self, value: Any) -> bool:
        return next(self._parts(value), None) is not None

    def _parts(self, value: Any) -> Iterator[Any]:
        """Every list and dictionary in a value, and those that it may hold where it is unread."""
        ahead, seen = [value], set()
        while ahead:
            item = ahead.pop()
            if isinstance(item, Unread):
                inner = [item.was, *item.shares]
            elif isinstance(item, dict | list | tuple):
                inner = list(item.values()) if isinstance(item, dict) else list(item)
            else:
                continue
            if id(item) in seen:
                continue
            seen.add(id(item))
            self.left -= 1 + len(inner)
            if self.left < 0:
                raise ValueError("it changes its settings in too many ways to be followed")
            ahead += inner
            if isinstance(item, dict | list):
                yield item


def _bound(node: ast.AST, names: Mapping[str, Any]) -> list[str]:
    """Names that one node of a statement binds, whatever the statement."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
        return [node.id]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        imported = [alias.asname or alias.name.split(".")[0] for alias in node.names]
        # A star brings whatever the other file has, perhaps a model.
        return [*names, "model"] if "*" in imported else imported
    return []


def additions(statement: ast.stmt) -> dict[str, list[ast.expr]]:
    """What a statement adds to lists, such as `train_pipeline.extend([...])`, by their names."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and _adds(node):
            name = node.func.value.id  # type: ignore[attr-defined]
            found.setdefault(name, []).append(node.args[-1])
    return found


def _adds(call: ast.Call) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.attr in ("append", "extend", "insert")
        and bool(call.args)
    )


def _suspects(statement: ast.stmt) -> list[ast.AST]:
    """The pieces of a statement that may change what they mention."""
    effects: list[ast.AST] = [
        node for node in ast.walk(statement) if _is_suspect(node) or _is_place(node)
    ]
    simple = isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr)
    return effects if simple or not effects else [statement]


def _is_place(node: ast.AST) -> bool:
    """Whether a node is assigned to or deleted within what a name stands for."""
    return isinstance(node, ast.Subscript | ast.Attribute) and isinstance(
        node.ctx, ast.Store | ast.Del
    )


def _is_suspect(node: ast.AST) -> bool:
    """Whether a node of an expression is a call that may change what it is given.

    Or a comprehension with one in it, whose variables stand for what it goes through.
    """
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return any(isinstance(inner, ast.Call) and _is_suspect(inner) for inner in ast.walk(node))
    if not isinstance(node, ast.Call) or is_pure(node) or _adds(node):
        return False
    return not (isinstance(node.func, ast.Name) and node.func.id == "dict")


def is_pure(node: ast.AST) -> bool:
    """Whether a node is a call that changes nothing, and whose value holds nothing that it got."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in _PURE

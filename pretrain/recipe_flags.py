"""Every number of a recipe by a flag of its own: `--clusters 20` is `--set clusters=20`.

The flags are made of a recipe's fields, so that none is forgotten: a field of a part is written
with a dash, as in `--train-crop 64`, and one that is true or false as `--sobel` or `--no-sobel`.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

R = TypeVar("R")

FIXED = ("name", "config")  # what a recipe is, and no number of it


def add_recipe_flags(
    parser: argparse.ArgumentParser, recipe: object, helps: Mapping[str, str]
) -> None:
    """Add `--set` and a flag for each field of `recipe` but `epochs`, which has one of its own.

    `helps` says by field what a number is.
    """
    group = parser.add_argument_group(
        "numbers of the recipe",
        "each instead of the recipe's, and recorded; python -m pretrain show RECIPE prints them",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="the same by the name of the field, as in clusters=20 or train.crop=64; may be "
        "repeated",
    )
    hints = get_type_hints(type(recipe))
    for name, value in _numbers(recipe):
        flag, dest, said = _flag(name), _dest(name), helps.get(name)
        if isinstance(value, bool):
            group.add_argument(flag, dest=dest, action=argparse.BooleanOptionalAction, help=said)
        elif get_origin(hints.get(name)) is Literal:
            group.add_argument(flag, dest=dest, choices=get_args(hints[name]), help=said)
        else:
            group.add_argument(flag, dest=dest, metavar=_metavar(value), help=said)


def with_flags(recipe: R, args: argparse.Namespace) -> R:
    """The recipe with the numbers that the flags give.

    Raises `UserError` for a value that the field cannot have, and for a number given twice.
    """
    from benchmarks.overrides import changed, check_set_once

    words: dict[str, str] = {}  # field=value -> as it was written
    if args.epochs is not None:
        words[f"epochs={args.epochs}"] = f"--epochs {args.epochs}"
    for name, _ in _numbers(recipe):
        value = getattr(args, _dest(name))
        if isinstance(value, bool):
            written = _flag(name) if value else f"--no-{_flag(name)[2:]}"
            words[f"{name}={str(value).lower()}"] = written
        elif value is not None:
            words[f"{name}={value}"] = f"{_flag(name)} {value}"
    check_set_once(args.set, words)
    return changed(recipe, [*words, *args.set], FIXED, words)


def _numbers(recipe: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of each field that has a flag, those of parts with a dot."""
    for field in fields(recipe):  # type: ignore[arg-type]
        value = getattr(recipe, field.name)
        if is_dataclass(value):
            yield from _numbers(value, f"{field.name}.")
        elif field.name not in (*FIXED, "epochs"):
            yield f"{prefix}{field.name}", value


def _flag(name: str) -> str:
    return f"--{name.replace('.', '-').replace('_', '-')}"


def _dest(name: str) -> str:
    return f"recipe:{name}"


def _metavar(value: object) -> str:
    if isinstance(value, tuple):
        return "X,X,.."
    return "NAME" if isinstance(value, str) else "X"

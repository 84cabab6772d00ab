"""Numbers of a protocol or recipe: printed, and changed by `--set FIELD=VALUE`.

A frozen dataclass becomes plain values and back, with every type checked on the way; fields of a
part are written with a dot, as in `train.crop=64`.
"""

import argparse
import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from types import MappingProxyType, NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from benchmarks.protocols import ImageTransform, Protocol
from slurm.errors import UserError

C = TypeVar("C")
P = TypeVar("P", bound=Protocol)

MOST_LISTED = 8  # values of a number before it was changed
CUSTOM: Literal["custom"] = "custom"  # the variant of a protocol whose numbers were changed
_KINDS = {  # of values, in words: one, and several
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "words true or false"),
    str: ("a word", "words"),
}
# What cannot be: what a protocol is, and on what the low-shot SVMs choose, which is a word alone.
IDENTITY = ("name", "benchmark", "dataset", "variant", "version", "selection")


def custom(protocols: Sequence[P], args: argparse.Namespace) -> list[P]:
    """`protocols` with the changes that the flags ask for, in those that have the field.

    What is changed becomes the variant `custom`. Raises `UserError` for a field that none has.
    """
    epochs = getattr(args, "epochs", None)
    check_set_once(args.set, {f"epochs={epochs}": f"--epochs {epochs}"} if epochs else {})
    changes = [*([f"epochs={epochs}"] if epochs else []), *args.set]
    for change in changes:
        name, _ = _halves(change, f"--set {change}")
        if not any(hasattr(protocol, name.partition(".")[0]) for protocol in protocols):
            known = [field for one in protocols for field in _fields(one, IDENTITY)]
            _choose_field(name, list(dict.fromkeys(known)))
    return [_custom(protocol, changes) for protocol in protocols]


def _custom(protocol: P, changes: Sequence[str]) -> P:
    mine = [one for one in changes if hasattr(protocol, one.partition("=")[0].partition(".")[0])]
    found = changed(protocol, mine, IDENTITY)
    taps = {getattr(one, "taps", None) for one in (protocol, found)}
    if len(taps) > 1 and not taps <= {"stages", "avgpool"}:
        raise UserError(
            f"--set {next(one for one in mine if one.startswith('taps='))}: heads on blocks and on "
            "positions have protocols of their own: choose one with --protocol"
        )
    return protocol if found == protocol else replace(found, variant=CUSTOM)


def check_set_once(changes: Sequence[str], flags: Mapping[str, str]) -> None:
    """`UserError` when one number is given by a flag and by `--set`: which one is meant?

    `flags` maps the `FIELD=VALUE` that each flag stands for to the flag as it was written.
    """
    given = {change.partition("=")[0]: flag for change, flag in flags.items()}
    for change in changes:
        flag = given.get(change.partition("=")[0])
        if flag:
            raise UserError(f"{flag} and --set {change} are both given: leave one out")


def lines_of(config: object) -> list[str]:
    """Every number of a frozen dataclass, as `field = value` in aligned columns."""
    pairs = list(_flat(msgspec.to_builtins(config)))
    width = max(len(name) for name, _ in pairs)
    return [f"{name.ljust(width)} = {value}" for name, value in pairs]


def changed(
    config: C,
    changes: Sequence[str],
    fixed: Sequence[str] = (),
    flags: Mapping[str, str] = MappingProxyType({}),
) -> C:
    """`config` with each `FIELD=VALUE` of `changes`; the fields in `fixed` cannot be changed.

    `flags` says which of them were written as flags of their own, and how.

    A value is JSON, a word, or several of these separated by commas; `none` takes a part out.
    Raises `UserError` for an unknown field, a value of another type, and a number that makes no
    sense anywhere: negative, not finite, or a count of zero where that is not the default.
    """
    content = msgspec.to_builtins(config)
    for change in changes:
        said = flags.get(change, f"--set {change}")
        name, text = _halves(change, said)
        _choose_field(name, _fields(content, fixed))
        for value in _readings(text):
            try:
                tried = _with(content, name.split("."), value)
                found = msgspec.convert(tried, type(config))
                break
            except msgspec.ValidationError:
                continue
        else:
            raise UserError(f"{said}: needs {_wanted(type(config), name.split('.'))}")
        content = msgspec.to_builtins(found)
        zero = _default(type(config), name.split(".")) == 0
        _check(said, _at(content, name.split(".")), zero=zero)
    if content.get("costs"):  # of equally good ones the first is chosen: it is to be the smallest
        content["costs"] = sorted(set(content["costs"]))
    found = msgspec.convert(content, type(config))
    if changes:
        said = ", ".join(flags.get(one, f"--set {one}") for one in changes)
        _check_images(found, said)
        _check_fits(found, said)
    return found


def _halves(change: str, said: str) -> tuple[str, str]:
    """Field and value of a change."""
    name, equals, text = change.partition("=")
    if not equals:
        raise UserError(f"{said}: write FIELD=VALUE, as in --set epochs=1")
    return name, text


def _wanted(config: type, path: Sequence[str]) -> str:
    """What a field takes, in words."""
    hint = get_type_hints(config)[path[0]]
    kinds = [one for one in get_args(hint) if one is not NoneType] or [hint]
    optional = NoneType in get_args(hint)
    if len(path) > 1:
        return _wanted(kinds[0], path[1:])
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, kinds))}"
    kind = kinds[0] if optional else hint
    if is_dataclass(kind):
        names = [f"{path[0]}.{field.name}" for field in fields(kind)[:2]]
        return f"its fields one by one, such as {' and '.join(names)}"
    members = get_args(kind)
    if get_origin(kind) is tuple:
        count = "" if members[-1] is Ellipsis else f"{len(members)} "
        found = f"{count}{_KINDS[members[0]][1]} with commas between"
        optional = optional or members[-1] is Ellipsis
    else:
        found = _KINDS[kind][0]
    return f"{found}, or none" if optional else found


def _fields(config: object, fixed: Sequence[str]) -> list[str]:
    """The names of all that can be changed, parts among them."""
    content = msgspec.to_builtins(config)
    parts = [name for name, value in content.items() if isinstance(value, dict)]
    return [*(name for name, _ in _flat(content) if name not in fixed), *parts]


def _choose_field(name: str, known: Sequence[str]) -> None:
    """`UserError` unless `name` is among `known`: the one that was meant, and all that there are.

    Of parts only their names, unless the field is of that part: `train.crop` makes `train.*`.
    """
    if name in known:
        return
    initials = {re.sub(r"([a-z])[a-z]*_?", r"\1", one): one for one in known if "_" in one}
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    meant = [initials[name]] if name in initials else close
    part = f"{name.partition('.')[0]}."
    of_part = [one for one in known if one.startswith(part)]
    parts = dict.fromkeys(f"{one.partition('.')[0]}.*" for one in known if "." in one)
    plain = [one for one in known if "." not in one and f"{one}.*" not in parts]
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    raise UserError(
        f"unknown field of --set {name[:100]!r}; {hint}"
        f"known: {', '.join(of_part or [*plain, *parts])}"
    )


def _check_fits(config: object, said: str) -> None:
    """Raise `UserError` for numbers that no SVM or regression can be fitted with."""
    costs = getattr(config, "costs", None)
    if costs is not None and not (costs and min(costs) > 0):
        raise UserError(f"{said}: costs are one or more numbers above 0")
    if getattr(config, "positive_weight", 1.0) <= 0:
        raise UserError(f"{said}: positive_weight is above 0")
    if getattr(config, "folds", 2) < 2:
        raise UserError(f"{said}: folds are 2 or more, each tested on what the others learn")


def _check_images(config: object, changes: str) -> None:
    """Raise `UserError` for transforms that no image can go through."""
    parts = {name: getattr(config, name, None) for name in ("train", "test", "extract", "image")}
    transforms = {name: one for name, one in parts.items() if isinstance(one, ImageTransform)}
    reasons = [f"{name}.{why}" for name, one in transforms.items() for why in _impossible(one)]
    sides = {one.crop for name, one in transforms.items() if name in ("train", "test")}
    if getattr(config, "taps", None) in ("stages", "blocks") and len(sides) > 1:
        reasons.append("train.crop and test.crop differ, and heads on stages have one size")
    if reasons:
        raise UserError(f"{changes}: {'; '.join(reasons)}")


def _impossible(one: ImageTransform) -> Iterator[str]:
    cut = not one.random_resized_crop and not one.squash
    if cut and one.resize is not None and one.crop > one.resize:
        yield f"crop {one.crop} is larger than the resized image, {one.resize}"
    if cut and one.random_crop is not None and one.crop > one.random_crop:
        yield f"crop {one.crop} is larger than random_crop, {one.random_crop}"
    if one.jitter is not None and (max(one.jitter[:3]) > 1 or one.jitter[3] > 0.5):
        yield "jitter is at most 1 for brightness, contrast and saturation, 0.5 for hue"
    if one.greyscale is not None and one.greyscale > 1:
        yield "greyscale is a probability"


def differences(old: object, new: object) -> list[str]:
    """`field new instead of old` for each number in which two configurations differ.

    Of many old values, such as 45 costs, only how many there were.
    """
    before, after = (dict(_flat(msgspec.to_builtins(one))) for one in (old, new))
    names = dict.fromkeys((*before, *after))
    return [
        f"{name} {after.get(name)} instead of {_in_short(before.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _in_short(value: Any) -> Any:
    many = isinstance(value, list) and len(value) > MOST_LISTED
    return f"{len(value)} values" if many else value


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _readings(text: str) -> Iterator[Any]:
    """What a text can mean: JSON, a list without its brackets, nothing (an empty list), a word."""
    if text.casefold() == "none":
        yield None
        yield []
    for form in (text, f"[{text}]"):
        try:
            yield msgspec.json.decode(form)
        except msgspec.DecodeError:
            continue
    yield text


def _with(content: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    name, *rest = path
    return {**content, name: _with(content[name], rest, value) if rest else value}


def _at(content: Any, path: Sequence[str]) -> Any:
    for name in path:
        content = content[name]
    return content


def _default(config: type, path: Sequence[str]) -> Any:
    """The default of a field; `MISSING` where it has none, as all fields of parts here."""
    return {field.name: field.default for field in fields(config)}.get(".".join(path), MISSING)


def _check(said: str, value: Any, *, zero: bool) -> None:
    """`UserError` for a number that makes no sense anywhere; `zero`: whether a count may be 0."""
    numbers = value if isinstance(value, list | tuple) else [value]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if (
            not math.isfinite(number)
            or number < 0
            or (number == 0 and isinstance(number, int) and not zero)
        ):
            raise UserError(f"{said}: {number} is not a number that this field can have")

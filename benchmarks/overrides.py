"""Numbers of a protocol or recipe: printed, and changed by `--set FIELD=VALUE`.

A frozen dataclass becomes plain values and back, with every type checked on the way; fields of a
part are written with a dot, as in `train.crop=64`.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import msgspec

from benchmarks.protocols import ImageTransform, Protocol
from slurm.cli import choose
from slurm.errors import UserError

C = TypeVar("C")
P = TypeVar("P", bound=Protocol)

CUSTOM: Literal["custom"] = "custom"  # the variant of a protocol whose numbers were changed
IDENTITY = ("name", "benchmark", "dataset", "variant", "version")  # what cannot be


def custom(protocols: Sequence[P], args: argparse.Namespace) -> list[P]:
    """`protocols` with the changes that the flags ask for, in those that have the field.

    What is changed becomes the variant `custom`. Raises `UserError` for a field that none has.
    """
    epochs = getattr(args, "epochs", None)
    check_set_once(args.set, {f"epochs={epochs}": f"--epochs {epochs}"} if epochs else {})
    changes = [*([f"epochs={epochs}"] if epochs else []), *args.set]
    for change in changes:
        part = change.partition("=")[0].partition(".")[0]
        if not any(hasattr(protocol, part) for protocol in protocols):
            changed(protocols[0], [change], IDENTITY)  # says what is wrong
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
    sense anywhere: negative, not finite, or a count of zero.
    """
    content = msgspec.to_builtins(config)
    for change in changes:
        name, equals, text = change.partition("=")
        said = flags.get(change, f"--set {change}")
        if not equals:
            raise UserError(f"{said}: write FIELD=VALUE, as in --set epochs=1")
        known = [field for field, _ in _flat(content) if field not in fixed]
        choose(name, [*known, *_parts(content)], "field of --set")
        for value in _readings(text):
            try:
                tried = _with(content, name.split("."), value)
                found = msgspec.convert(tried, type(config))
                break
            except msgspec.ValidationError as error:
                reason = str(error).split(" - at ")[0]
        else:
            raise UserError(f"{said}: {reason}")
        content = msgspec.to_builtins(found)
        _check(said, _at(content, name.split(".")))
    found = msgspec.convert(content, type(config))
    if changes:
        _check_images(found, ", ".join(flags.get(one, f"--set {one}") for one in changes))
    return found


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
    """`field new (old)` for each number in which two configurations differ."""
    before, after = (dict(_flat(msgspec.to_builtins(one))) for one in (old, new))
    names = dict.fromkeys((*before, *after))
    return [
        f"{name} {after.get(name)} ({before.get(name)})"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _parts(content: dict[str, Any]) -> list[str]:
    return [name for name, value in content.items() if isinstance(value, dict)]


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


def _check(said: str, value: Any) -> None:
    numbers = value if isinstance(value, list | tuple) else [value]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if not math.isfinite(number) or number < 0 or (number == 0 and isinstance(number, int)):
            raise UserError(f"{said}: {number} is not a number that this field can have")

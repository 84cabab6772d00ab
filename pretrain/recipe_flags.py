"""Every number of a recipe by a flag of its own: `--clusters 20` is `--set clusters=20`.

The flags are made of a recipe's fields, so that none is forgotten: a field of a part is written
with a dash, as in `--train-crop 64`, and one that is true or false as `--sobel` or `--no-sobel`.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

R = TypeVar("R")

# Metavar and help of the fields of an ImageTransform.
IMAGES = {
    "crop": ("PIXELS", "side of the square that the network sees"),
    "resize": ("PIXELS", "short side before cropping, or none"),
    "squash": ("", "resize to the square, without keeping the aspect ratio"),
    "random_resized_crop": ("", "crops of 0.08 to 1 of the area at ratios of 3/4 to 4/3"),
    "random_crop": ("PIXELS", "side of the centre square that crops are drawn from, or none"),
    "flip": ("", "mirrored, with probability one half"),
    "jitter": (
        "B,C,S,H",
        "most change of brightness, contrast, saturation (at most 1) and hue (0.5), or none",
    ),
    "lighting": ("X", "AlexNet's PCA noise, standard deviation, or none"),
    "rotation": ("DEGREES", "the most that an image is turned by, or none"),
    "greyscale": ("P", "probability of losing the colours, or none"),
}
FIXED = ("name", "config")  # what a recipe is, and no number of it


def add_recipe_flags(
    parser: argparse.ArgumentParser, recipe: object, helps: Mapping[str, str]
) -> None:
    """Add `--set` and a flag for each field of `recipe` but `epochs`, which has one of its own.

    `recipe` is the default one, whose numbers the help names; `helps` says by field what a number
    is, and by part (`train`) which images.
    """
    group = parser.add_argument_group(
        "numbers of the recipe",
        "each instead of the recipe's, and recorded; in brackets that of the default recipe; "
        "python -m pretrain show RECIPE prints those of any",
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
    for name, value in numbers_of(recipe):
        flag, dest, said = flag_of(name), _dest(name), f"{_help(name, helps)} [{_shown(value)}]"
        if isinstance(value, bool):
            group.add_argument(flag, dest=dest, action=argparse.BooleanOptionalAction, help=said)
        elif get_origin(hints.get(name)) is Literal:
            group.add_argument(flag, dest=dest, choices=get_args(hints[name]), help=said)
        else:
            group.add_argument(flag, dest=dest, metavar=_metavar(name, value), help=said)


def with_flags(recipe: R, args: argparse.Namespace) -> R:
    """The recipe with the numbers that the flags give.

    Raises `UserError` for a value that the field cannot have, and for a number given twice.
    """
    from benchmarks.overrides import changed, check_set_once

    words: dict[str, str] = {}  # field=value -> as it was written
    if args.epochs is not None:
        words[f"epochs={args.epochs}"] = f"--epochs {args.epochs}"
    for name, _ in numbers_of(recipe):
        value = getattr(args, _dest(name))
        if isinstance(value, bool):
            written = flag_of(name) if value else f"--no-{flag_of(name)[2:]}"
            words[f"{name}={str(value).lower()}"] = written
        elif value is not None:
            words[f"{name}={value}"] = f"{flag_of(name)} {value}"
    check_set_once(args.set, words)
    return changed(recipe, [*words, *args.set], FIXED, words)


def numbers_of(recipe: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of each field that has a flag, those of parts with a dot."""
    for field in fields(recipe):  # type: ignore[arg-type]
        value = getattr(recipe, field.name)
        if is_dataclass(value):
            yield from numbers_of(value, f"{field.name}.")
        elif field.name not in (*FIXED, "epochs"):
            yield f"{prefix}{field.name}", value


def flag_of(name: str) -> str:
    """The flag of a field."""
    return f"--{name.replace('.', '-').replace('_', '-')}"


def _dest(name: str) -> str:
    return f"recipe:{name}"


def _help(name: str, helps: Mapping[str, str]) -> str:
    part, dot, field = name.rpartition(".")
    return f"{helps[part]}: {IMAGES[field][1]}" if dot else helps[name]


def _metavar(name: str, value: object) -> str:
    field = name.rpartition(".")[2]
    if field != name:
        return IMAGES[field][0]
    if name in ("mean", "std"):
        return "R,G,B"
    if isinstance(value, tuple):
        return "N,N,.."
    return "NAME" if isinstance(value, str) else "N" if isinstance(value, int) else "X"


def _shown(value: object) -> str:
    """A value as a flag takes it, but for what is true or false."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(f"{number:g}" for number in value) or "none"
    return "none" if value is None else f"{value}"

"""`registry show`: a checkpoint as a page."""

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.checkpoints.cards import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Card,
    read_card,
    registered_names,
    weights_path,
)
from benchmarks.checkpoints.wording import shown
from benchmarks.registering.hanging import hanging, size, size_text
from benchmarks.registering.output import LONGEST_CELL, output, output_lines
from benchmarks.registering.records import Result
from slurm.cli import Parser, choose
from slurm.files import check_is_there

WIDTH = 100  # characters of a line that is wrapped
LABEL = 14
_UNTOLD = ("identity", "settings", "restart")


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser("show", help="one checkpoint", description=show.__doc__)
    parser.add_argument("name", metavar="NAME", help="of the checkpoint, as list shows it")
    parser.set_defaults(run=show)


def show(args: argparse.Namespace) -> None:
    """Show a checkpoint: what it is, where it came from, how it was trained, what was measured."""
    check_is_there(args.zoo)
    choose(args.name, registered_names(args.zoo), f"checkpoint in {args.zoo}")
    card = read_card(args.zoo, args.name)
    output(args.json, results.encode(card), [])
    output_lines(args.json, page(args.zoo, card))


def page(zoo: Path, card: Card) -> list[str]:
    """The lines of a page."""
    title = f"{card.name}: {card.label}"
    lines = [title, "=" * len(title)]
    for part in (_checkpoint(zoo, card), _notes(card), _pretraining(card), _results(zoo, card)):
        found = list(part)
        lines += ["", *found] if found else []
    return lines


def _checkpoint(zoo: Path, card: Card) -> Iterator[str]:
    path = weights_path(zoo, card.name)
    there = size_text(path.stat().st_size) if path.exists() else "missing"
    yield from _line("method", card.method)
    yield from _line("config", card.config)
    yield from _line("from", card.source and f"{card.source} (format {card.format})")
    yield from _line("weights", f"{card.weights}, {there}")
    yield from _line("file", str(path))
    usual = (card.mean, card.std) == (IMAGENET_MEAN, IMAGENET_STD)
    whose = "given by hand" if card.pixels_given else "ImageNet's" if usual else ""
    pixels = f"RGB, mean {_numbers(card.mean)}, std {_numbers(card.std)}"
    yield from _line("pixels", f"{pixels} ({whose})" if whose else pixels)


def _notes(card: Card) -> Iterator[str]:
    if card.all_notes:
        yield "What a reader of its figures must know"
    for note in card.all_notes:
        yield from textwrap.wrap(
            shown(note, LONGEST_CELL), WIDTH, initial_indent="  - ", subsequent_indent="    "
        )


def _pretraining(card: Card) -> Iterator[str]:
    """Numbers a line each, of a history the last epoch.

    What only programs read, and a recipe's many numbers, are left to --json.
    """
    told = {key: value for key, value in card.pretraining.items() if key not in _UNTOLD}
    if told:
        yield "Pretraining"
    for key, value in told.items():
        if key == "history" and isinstance(value, Mapping):
            yield from _line("last epoch", _last(value))
        elif key == "images" and isinstance(value, Mapping):
            yield from _line(key, f"{value.get('images')} of {value.get('classes')} classes")
        else:
            yield from _line(key.replace("_", " "), _brief(value))
    if "settings" in card.pretraining:
        yield from _line("settings", "all numbers stand in --json")


def _last(history: Mapping[Any, Any]) -> str:
    last = {
        str(name): values[-1]
        for name, values in history.items()
        if isinstance(values, list) and values and values[-1] is not None
    }
    return _brief(last)


def _results(zoo: Path, card: Card) -> Iterator[str]:
    found = hanging(zoo, card.name, card)
    if found.count:
        yield "Results"
    heads = [_head(one.record) for one in found.current]
    for one, head in zip(found.current, heads):
        # Whatever else two records differ in, such as the precision, their files say.
        yield from _result(one, f"{head}; {one.path.name}" if heads.count(head) > 1 else head)
    for one, reason in found.outdated:
        yield from _line("out of date", f"{one.path} {reason}")
    for reason in found.unreadable:
        yield from _line("unreadable", reason)
    cached = zoo / "features" / card.name
    if cached.is_dir():
        yield from _line("features", f"{size_text(size(cached))} cached in {cached}")


def _head(record: results.Record) -> str:
    """By what a result was measured."""
    from benchmarks.catalog.records import changes_of  # these know every benchmark
    from benchmarks.commands import measured_as

    facts = [f"{shown(record.protocol)}, seed {record.seed}", *changes_of(record)]
    return f"{measured_as(record)}: {'; '.join(facts)}"


def _result(one: Result, head: str) -> Iterator[str]:
    from benchmarks.catalog.partial import partial_record
    from benchmarks.commands import figures_of

    record = one.record
    figures = figures_of(record)
    # A layer of low-shot SVMs has a figure for each k.
    parts = figures if isinstance(record, results.LowShotRecord) else [", ".join(figures)]
    mark = partial_record(record)
    yield from _wrapped(head, "  ")
    for part in [*parts, *([f"({mark})"] if mark else [])]:
        yield from _wrapped(part, "    ")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        shown(text, LONGEST_CELL),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
    )


def _brief(value: object) -> str:
    """A value in a line, dictionaries as `name value, ...`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_brief(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_brief, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _line(label: str, text: str | None) -> list[str]:
    """A label and its text, wrapped beside it; nothing without a text."""
    if not text:
        return []
    indent = "  " + " " * (LABEL + 1) if label else "  "
    first = f"  {shown(label, 40).ljust(LABEL)} " if label else "  "
    return textwrap.wrap(
        shown(text, LONGEST_CELL),
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent if label else "    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)

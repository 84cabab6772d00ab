"""python -m reports compare A B [C ...]: what differs by more than the choice of test images."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from reports.collect import collect, say_left_out
from reports.confidence.figures import LOW_SHOT_RESAMPLES
from reports.confidence.intervals import LEVEL
from reports.confidence.paired import Column, Comparison, compare_rows
from reports.confidence.resampling import RESAMPLES
from reports.measured import measured_tables
from reports.tables import escape, format_table, signed
from slurm.errors import UserError, one_line
from slurm.outputs import write_output
from slurm.streams import write_stdout

SCHEMA = 1


def compare(args: argparse.Namespace) -> None:
    """Run the command; `args` are its flags."""
    names = [_row_name(name) for name in (args.first, *args.others)]
    if len(set(names)) != len(names):
        raise UserError("a checkpoint is named twice: name different ones")
    if args.picture is not None and args.picture.suffix not in (".svg", ".png"):
        raise UserError(f"--picture {args.picture} must end in .svg or .png")
    collection = collect(args.zoo, names, variants=[args.variant] if args.variant else [])
    say_left_out(collection)
    measured = measured_tables(collection)
    found = [compare_rows(measured, collection, names[0], name) for name in names[1:]]
    columns = [column for one in found for column in one.columns]
    missing = list(dict.fromkeys(line for one in found for line in one.missing))
    unlike = list(dict.fromkeys(line for one in found for line in one.unlike))
    if not columns:
        raise UserError(
            "; ".join(missing[:3])
            or f"{' and '.join(names)} have no figures in one table: measure them alike"
        )
    text = "\n\n".join(
        [to_markdown(one) for one in found if one.columns] + [_notes(columns, missing, unlike)]
    )
    if args.json is not None:
        content = msgspec.json.format(
            msgspec.json.encode(
                {
                    "columns": columns,
                    "missing": missing,
                    "unlike": unlike,
                    "level": LEVEL,
                    "resamples": RESAMPLES,
                    "low_shot_resamples": LOW_SHOT_RESAMPLES,
                    "schema": SCHEMA,
                }
            ),
            indent=1,
        )
        if args.json == Path("-"):
            write_stdout(content + b"\n")
            return
        write_output(args.json, content + b"\n")
    if args.picture is not None:
        from reports.confidence.picture import draw

        write_output(args.picture, draw(columns, args.picture.suffix[1:]))
    write_stdout(f"{text}\n".encode())


def to_markdown(found: Comparison) -> str:
    """A table of all columns of two rows, and what it says in words."""
    first, second = found.columns[0].first, found.columns[0].second
    header = ["Table", "Column", first, second, "Difference", "95 % interval", "p", "p (Holm)", ""]
    rows = [
        [
            _title(one),
            one.column,
            f"{one.a:.2f}",
            f"{one.b:.2f}",
            signed(one.difference),
            f"{signed(one.low)} to {signed(one.high)}",
            f"{one.p:.4f}",
            f"{one.p_holm:.4f}",
            verdict(one),
        ]
        for one in found.columns
    ]
    title = f"#### {escape(second)} against {escape(first)}"
    table = format_table([escape(text) for text in header], [list(map(escape, r)) for r in rows])
    details = [f"- {line}" for one in found.columns for line in _details(one)]
    return "\n\n".join([title, table, *(["\n".join(details)] if details else [])])


def verdict(column: Column) -> str:
    """What the interval says, in words."""
    if not column.separable:
        return "not separable"
    better = column.second if column.difference > 0 else column.first
    alone = "" if column.p_holm <= 1 - LEVEL else ", in this column alone"
    return f"{better} is better{alone}"


def _details(one: Column) -> list[str]:
    where = escape(f"{one.title}, {one.column}")
    if one.wins is not None and one.losses is not None:
        return [
            f"{where}: of the images {one.wins:,} only {escape(one.second)} has right, "
            f"{one.losses:,} only {escape(one.first)}."
        ]
    if one.classes:
        moved = ", ".join(f"{escape(name)} {signed(ap)}" for name, ap in one.classes.items())
        return [f"{where}: the classes that moved most: {moved}."]
    return []


def _title(one: Column) -> str:
    return one.title + ("" if one.variant == "mmselfsup" else f" ({one.variant})")


def _notes(columns: Sequence[Column], missing: Sequence[str], unlike: Sequence[str]) -> str:
    images = dict.fromkeys(f"{one.images:,} in {escape(_title(one))}" for one in columns)
    lines = [
        f"Test images: {'; '.join(images)}.",
        f"Intervals: {100 * LEVEL:.0f} %, paired percentile bootstrap over the test images, "
        f"{RESAMPLES:,} resamples ({LOW_SHOT_RESAMPLES:,} over images and draws in low-shot "
        "columns); percent points. Not in them: other seeds of a probe, another pretraining run.",
        *(f"Not measured alike: {escape(one_line(line))}." for line in unlike),
        *(f"Not compared: {escape(one_line(line))}." for line in missing),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _row_name(text: str) -> str:
    """The row of `random:ARCH` is random-ARCH."""
    return f"random-{text[7:]}" if text.startswith("random:") else text

"""Figures that bear a published protocol's name, and are of other images than the published ones.

A rehearsal on sixty images is no result on VOC2007: it is told by the sizes of its splits, said
before it runs, and marked wherever its figures stand. The variant `digits` claims no real data.
"""

from collections.abc import Mapping, Sequence

from benchmarks.catalog.benchmark import Goal
from benchmarks.catalog.listed import BENCHMARKS, PROTOCOLS
from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.splits import Size
from benchmarks.datasets.voc07 import OTHER_LABELS
from benchmarks.protocols import PUBLISHED
from benchmarks.results import Record, Split


def partial_record(record: Record) -> str:
    """What a record's figures are marked with; empty where they are of the real data."""
    mark = partial_data(record.benchmark, record.protocol, record.variant, record.data)
    if not mark and record.variant in (*PUBLISHED, "custom") and other_labels_of(record):
        return "other data, labels that are not those of VOC2007"
    return mark


def other_labels_of(record: Record) -> list[str]:
    """What a record notes of labels that are as many as the official ones and are others."""
    return [note for note in record.notes if note.startswith(OTHER_LABELS)]


def partial_data(benchmark: str, protocol: str, variant: str, data: Mapping[str, Split]) -> str:
    """`partial data, n of N images` where the splits have not their official sizes, else empty.

    What a user changed in a protocol (the variant `custom`) claims what the protocol does.
    """
    if variant == "custom" and protocol in PROTOCOLS:
        variant = PROTOCOLS[protocol].variant
    if variant not in (*PUBLISHED, "custom"):
        return ""
    official = DATASETS[BENCHMARKS[benchmark].dataset].sizes
    sizes = {split: Size(found.images, found.classes) for split, found in data.items()}
    if all(sizes.get(split) == size for split, size in official.items()):
        return ""
    images, wanted = (sum(size.images for size in one.values()) for one in (sizes, official))
    if images < wanted:
        return f"partial data, {images:,} of {wanted:,} images"
    if images > wanted:
        return f"other data, {images:,} images instead of {wanted:,}"
    return "other data, splits or classes of other sizes"


def differences(record: Record) -> list[str]:
    """Split by split, how the sizes differ from the official ones."""
    official = DATASETS[BENCHMARKS[record.benchmark].dataset].sizes
    found = []
    for split, size in official.items():
        if split not in record.data:
            found.append(f"no {split} split")
            continue
        images, classes = record.data[split].images, record.data[split].classes
        if (images, classes) != size:
            found.append(
                f"{images:,} of {size.images:,} {split} images, {classes:,} of "
                f"{size.classes:,} classes"
            )
    return [*found, *(["other labels than those"] if other_labels_of(record) else [])]


def announcements(goals: Sequence[Goal]) -> list[str]:
    """A line for each data set that is not the real one, to be said before anything runs."""
    marks: dict[str, str] = {}
    for goal in goals:
        one = goal.protocol
        if BENCHMARKS[one.benchmark].dataset in marks:
            continue
        mark = partial_data(one.benchmark, one.name, one.variant, goal.measured_on)
        if mark:
            marks[BENCHMARKS[one.benchmark].dataset] = mark
    return [
        f"note: these are not the images of {DATASETS[dataset].title} ({mark}): the figures are "
        "marked in every table and stand beside no published one"
        for dataset, mark in marks.items()
    ]

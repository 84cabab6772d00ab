"""What figures cost: hours of a device, images a second and memory, from what records say."""

from collections.abc import Iterable
from typing import Any

from benchmarks.results import ProbeRecord, Record, Split
from reports.collect import Found, by_name, originals

CPU = "CPU"


def device_of(record: Record) -> str:
    """The name of its GPU, `GPU` where an earlier build did not note it, or `CPU`."""
    known = record.made.device if record.made else None
    return known or (CPU if record.device.startswith("cpu") else "GPU")


def device_seconds(record: Record) -> float:
    """Seconds of one device: those of every process, shared with probes that read the same stream.

    Records of earlier builds do not say how many these were: theirs count whole. Not in it is the
    extraction of features, which several records share.
    """
    if record.made is None:
        return record.seconds
    return record.seconds * record.made.processes / record.made.beside


def images_per_second(record: Record) -> float | None:
    """Images that went through the trunk in a second, training and evaluating; None if unknown."""
    if isinstance(record, ProbeRecord):
        train, val = (record.data.get(name, Split(0, 0, "")) for name in ("train", "val"))
        evaluated = len(record.evaluated) or record.epochs
        images, seconds = record.epochs * train.images + evaluated * val.images, record.seconds
    else:
        extracted = (record.made.extraction if record.made else None) or {}
        images = sum(one.images for one in record.data.values())
        seconds = sum(extracted.values())
    return images / seconds if seconds > 0 else None


def cost_of(record: Record) -> dict[str, Any]:
    """What one record took, as JSON; what is not known is left out."""
    made = record.made
    known = {
        "device_name": device_of(record),
        "device_hours": device_seconds(record) / 3600,
        "images_per_second": images_per_second(record),
        "extraction_seconds": made.extraction if made else None,
        "extraction_share_seconds": made.extraction_share if made else None,
        "gpu_bytes": made.gpu_bytes if made else None,
        "host_bytes": made.host_bytes if made else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def hours_by_row(found: Iterable[Found]) -> dict[str, dict[str, float]]:
    """Device hours of all records of each checkpoint, by the device's name."""
    return {
        name: _hours([item.record for item in originals(items)])
        for name, items in by_name(found).items()
    }


def _hours(records: Iterable[Record]) -> dict[str, float]:
    """The same features of the same seconds are those of one extraction, and count once.

    Seconds alone do not tell: trunks that read the images in one pass bear equal parts of it.
    """
    hours: dict[str, float] = {}
    extractions: set[object] = set()
    for record in records:
        spent = [(device_of(record), device_seconds(record))]
        extraction = tuple(_extraction_seconds(record).items())
        chosen = (record.settings.get("dtype"), record.settings.get("feature"))
        features = (extraction, record.checkpoint.weights, record.precision, *chosen)
        if features not in extractions:
            extractions.add(features)
            spent += extraction
        for name, seconds in spent:
            hours[name] = hours.get(name, 0.0) + seconds / 3600
    return hours


def _extraction_seconds(record: Record) -> dict[str, float]:
    """By the device's name, those that the record's trunk bears."""
    if record.made is None:
        return {}
    return record.made.extraction_share or record.made.extraction or {}

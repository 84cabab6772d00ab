"""Intervals of figures that stand in pictures and in no cell: of other layers, and of classes."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.outcomes.files import read_outcomes
from benchmarks.results import VocSvmRecord
from reports.collect import Collection, Found, originals, shown_records
from reports.confidence.average_precision import RankedClasses
from reports.confidence.figures import Figure, figures, resampled, test_split
from reports.confidence.intervals import interval
from reports.confidence.kept import kept_path, read_kept, write_kept
from reports.confidence.resampling import Floats, block_counts
from reports.measured import Measured, of_type

CLASS_RESAMPLES = 1000  # the first of all: a picture shows no second digit


def picture_bounds(
    measured: Sequence[Measured], collection: Collection
) -> dict[tuple[str, str], tuple[float, float]]:
    """By path of a record and name of a figure the ends of its interval, percent.

    Figures are the mAP of every layer and, named `LAYER.CLASS`, the AP at the best layer.
    """
    shown = [
        found
        for item in measured
        for found in shown_records(of_type(item.found, VocSvmRecord), seeds=False)
    ]
    wanted = [(found, figure) for found in shown for figure in _by_layer(found).values()]
    samples_of_all = resampled([figure for _, figure in wanted], collection.zoo)
    bounds = {}
    for (found, figure), samples in zip(wanted, samples_of_all):
        if samples is not None:
            one = interval(figure.value, samples)
            if one.has_length:
                bounds[str(found.path), figure.name] = (one.low, one.high)
    for found in shown:
        record = found.record
        whole = str(found.path)
        if isinstance(record, VocSvmRecord) and (whole, record.best_layer) in bounds:
            for name, ends in _of_classes(record, _by_layer(found), collection).items():
                bounds[whole, f"{record.best_layer}.{name}"] = ends
    return bounds


def _by_layer(found: Found) -> dict[str, Figure]:
    """The figure of each layer, of a joined record in the first of its parts that has the layer."""
    parts = reversed(originals([found]))
    return {figure.name: figure for part in parts for figure in figures(part)}


def _of_classes(
    record: VocSvmRecord, layers: Mapping[str, Figure], collection: Collection
) -> dict[str, tuple[float, float]]:
    """The intervals of AP at the best layer, of a record that was held against its outcomes."""
    by_class = _class_samples(layers[record.best_layer], record.classes, collection)
    bounds = {}
    for name, value in zip(record.classes, record.layers[record.best_layer].ap):
        samples = by_class[name]
        known = samples[~np.isnan(samples)]
        if len(known):
            one = interval(value, known)
            if one.has_length:
                bounds[name] = (one.low, one.high)
    return bounds


def _class_samples(
    best: Figure, classes: Sequence[str], collection: Collection
) -> dict[str, Floats]:
    """The AP of each class at the best layer in bootstrap samples, percent; NaN: no positive."""
    found, record = best.found, best.found.record
    values = {figure.name: figure.value for figure in figures(found)}
    path = kept_path(collection.zoo, record, values, f"classes of {best.name}")
    kept = read_kept(path, CLASS_RESAMPLES)
    if set(kept) == set(classes):
        return kept
    split = test_split(found)
    tensors = read_outcomes(found.path, record.outcomes or "", split)
    counts = block_counts(split.images, split.sha256, 0, CLASS_RESAMPLES)
    ranked = RankedClasses(tensors[f"{best.name}.scores"], tensors["labels"])
    made = dict(zip(classes, 100 * ranked.average_precisions(counts)))
    write_kept(path, made)
    return made

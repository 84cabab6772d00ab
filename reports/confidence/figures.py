"""The figures of a record, resampled: from the outcomes beside it to bootstrap samples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.outcomes.files import read_outcomes
from benchmarks.results import LowShotRecord, ProbeRecord, Record, Split, VocSvmRecord
from reports.collect import Found
from reports.confidence.accuracy import resampled_accuracies
from reports.confidence.average_precision import ranked_classes, resampled_maps
from reports.confidence.resampling import RESAMPLES, Counts, Floats, resample_counts, resample_draws
from slurm.errors import UserError

# Five draws at eight k take forty times as long as one mAP.
LOW_SHOT_RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """One figure of a record: `name` is that of its tensor without the kind, as feature5.k=96."""

    found: Found
    name: str
    value: float  # percent, as the record has it


def figures(found: Found) -> list[Figure]:
    """All figures of a record that tables show."""
    record = found.record
    if isinstance(record, ProbeRecord):
        return [Figure(found, tap, head.top1) for tap, head in record.heads.items()]
    if isinstance(record, VocSvmRecord):
        return [Figure(found, name, layer.map) for name, layer in record.layers.items()]
    if isinstance(record, LowShotRecord):
        return [
            Figure(found, f"{name}.k={k}", shot.mean)
            for name, layer in record.layers.items()
            for k, shot in layer.shots.items()
        ]
    return []


def test_split(record: Record) -> Split:
    """The images that a record's figures are of."""
    return record.data["val" if "val" in record.data else "test"]


def samples_of(record: Record) -> int:
    """How often the figures of a record are resampled."""
    return LOW_SHOT_RESAMPLES if isinstance(record, LowShotRecord) else RESAMPLES


def work_of(wanted: Sequence[Figure]) -> int:
    """The samples of all figures that have outcomes, for a bar."""
    known = (figure.found.record for figure in wanted if figure.found.record.outcomes)
    return sum(map(samples_of, known))


def resampled(
    wanted: Sequence[Figure], tick: Callable[[int], object] = lambda count: None
) -> list[Floats | None]:
    """Bootstrap samples of each figure, percent; all of one test set by the same draws of images.

    None for a figure without outcomes: its record is of an earlier build, or it is of a layer that
    the low-shot outcomes leave out. `UserError` for outcomes that are missing, damaged, of other
    images, or do not give the record's figure. `tick` is told how many samples of figures are done.
    """
    by_images: dict[tuple[str, int, int], list[int]] = {}
    for at, figure in enumerate(wanted):
        split = test_split(figure.found.record)
        samples = samples_of(figure.found.record)
        by_images.setdefault((split.sha256, split.images, samples), []).append(at)
    read = _reader()
    found: list[Floats | None] = [None] * len(wanted)
    for (sha256, images, samples), places in by_images.items():
        outcomes = {at: read(wanted[at]) for at in places}
        known = {at: one for at, one in outcomes.items() if one is not None}
        parts: dict[int, list[Floats]] = {at: [] for at in known}
        if not known:
            continue
        begin = 0
        for counts in resample_counts(images, sha256, samples):
            for at, one in known.items():
                parts[at].append(one(counts, begin))
            begin += counts.shape[1]
            tick(counts.shape[1] * len(known))
        for at in known:
            found[at] = np.concatenate(parts[at])
    return found


Resample = Callable[[Counts, int], Floats]  # the samples of a block that begins at this one


def _reader() -> Callable[[Figure], Resample | None]:
    """Reads the outcomes of each record once."""
    kept: dict[str, Mapping[str, NDArray[Any]]] = {}

    def read(figure: Figure) -> Resample | None:
        path, record = figure.found.path, figure.found.record
        if record.outcomes is None:
            return None
        if str(path) not in kept:
            kept[str(path)] = read_outcomes(path, record.outcomes, test_split(record))
        return _resample(figure, kept[str(path)])

    return read


def _resample(figure: Figure, tensors: Mapping[str, NDArray[Any]]) -> Resample | None:
    record = figure.found.record
    split = test_split(record)
    if isinstance(record, ProbeRecord):
        ranks = _tensor(figure, tensors, "rank")
        if ranks is None:
            return None
        hits = ranks == 0
        _require(figure, 100 * float(hits.mean()))
        return lambda counts, begin: resampled_accuracies(hits, counts)
    labels = tensors.get("labels")
    if labels is None or labels.ndim != 2:
        raise UserError(f"the outcomes of {figure.found.path} have no labels (images, classes)")
    once = np.ones((split.images, 1), np.uint16)
    if isinstance(record, VocSvmRecord):
        scores = _tensor(figure, tensors, "scores")
        if scores is None:
            return None
        classes = ranked_classes(scores, labels)
        _require(figure, float(resampled_maps(classes, once)[0]))
        return lambda counts, begin: resampled_maps(classes, counts)
    ranks = _tensor(figure, tensors, "ranks")
    if ranks is None:
        return None
    draws = [ranked_classes(-draw.astype(np.float64), labels) for draw in ranks]
    _require(figure, float(np.mean([resampled_maps(classes, once)[0] for classes in draws])))

    def low_shot(counts: Counts, begin: int) -> Floats:
        """Images within draws, then draws: both are drawn again."""
        by_draw = np.stack([resampled_maps(classes, counts) for classes in draws])
        chosen = resample_draws(len(draws), split.sha256, begin, counts.shape[1])
        mean: Floats = np.take_along_axis(by_draw, chosen, axis=0).mean(0)
        return mean

    return low_shot


def _tensor(figure: Figure, tensors: Mapping[str, NDArray[Any]], kind: str) -> NDArray[Any] | None:
    return tensors.get(f"{figure.name}.{kind}")


def _require(figure: Figure, value: float) -> None:
    """An interval must never be of another figure than the one beside it."""
    if abs(value - figure.value) > 1e-6:
        path = figure.found.path
        raise UserError(
            f"the outcomes of {path} give {figure.name} {value:.4f}, the record says "
            f"{figure.value:.4f}: one of the two was changed; move {path.name} away and run its "
            "benchmark again"
        )


def all_figures(found: Iterable[Found]) -> list[Figure]:
    """The figures of many records."""
    return [figure for item in found for figure in figures(item)]

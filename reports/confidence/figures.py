"""The figures of a record, resampled: from the outcomes beside it to bootstrap samples."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.knn.record import KnnRecord
from benchmarks.logreg.record import LogregRecord
from benchmarks.outcomes.files import read_outcomes
from benchmarks.results import LowShotRecord, ProbeRecord, Record, Split, VocSvmRecord
from benchmarks.svm.solver.workers import each
from reports.clashes.alike import draws_of, shots_of
from reports.collect import Found
from reports.confidence.accuracy import resampled_accuracies
from reports.confidence.average_precision import RankedClasses, resampled_maps
from reports.confidence.kept import kept_names, kept_path, read_kept, write_kept
from reports.confidence.resampling import (
    BLOCK,
    RESAMPLES,
    Counts,
    Floats,
    block_counts,
    blocks,
    resample_draws,
)
from reports.tables import Row
from slurm.errors import UserError
from slurm.threads import share_of

NOT_KEPT = "no outcomes are kept"  # in the notes of low-shot records of too many scores
# Five draws at eight k take forty times as long as one mAP.
LOW_SHOT_RESAMPLES = 1000
MOST_PROCESSES = 4  # each holds a block of counts: 50 MB for 50,000 images


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
    if isinstance(record, KnnRecord):
        return [Figure(found, k, figure.top1) for k, figure in record.k.items()]
    if isinstance(record, LogregRecord):
        return [Figure(found, "logreg", record.top1)]
    if isinstance(record, LowShotRecord):
        return [
            Figure(found, f"{name}.k={k}", shot.mean)
            for name, layer in record.layers.items()
            for k, shot in layer.shots.items()
        ]
    return []


def figure_of(row: Row, column: str, found: dict[str, Found]) -> Figure | None:
    """The figure behind a cell of one record; None for a cell of several, of none, or of text."""
    cell = row.cells.get(column)
    if cell is None or cell.value is None or len(cell.records) != 1:
        return None
    layer = row.cells["Best Layer"].text if "Best Layer" in row.cells else None
    names = {"SVM": layer}
    if layer is not None and column.startswith("k="):
        names[column] = f"{layer}.{column}"
    name = names.get(column, column.lower().removeprefix("k="))
    known = {figure.name: figure for figure in figures(found[cell.records[0]])}
    return known.get(name or "")


def test_split(found: Found) -> Split:
    """The images that a record's figures are of; `UserError` when it does not say."""
    for name in ("val", "test"):
        if name in found.record.data:
            return found.record.data[name]
    raise UserError(f"{found.path} does not say which images it was measured on")


def why_none(figure: Figure) -> str:
    """Why a figure cannot be resampled, and what helps if anything does."""
    record, name = figure.found.record, figure.found.path.name
    if any(NOT_KEPT in note for note in record.notes):
        return f"{name} holds no outcomes, as its notes say"
    if not isinstance(record, VocSvmRecord | LowShotRecord):
        return f"{name} holds no outcomes: move it away and run its benchmark again"
    layer = "" if record.outcomes is None else f" of {figure.name.partition('.')[0]}"
    if layer and isinstance(record, LowShotRecord):
        return (
            f"{name} is of an earlier build and holds no outcomes{layer}: move it away and run its "
            "benchmark again, which takes them from the folder parts beside it"
        )
    return (
        f"{name} holds no outcomes{layer}: move it away, with the folder parts beside it, and run "
        "its benchmark again"
    )


def samples_of(record: Record) -> int:
    """How often the figures of a record are resampled."""
    return LOW_SHOT_RESAMPLES if isinstance(record, LowShotRecord) else RESAMPLES


def work_of(wanted: Sequence[Figure], zoo: Path) -> int:
    """The samples that are to be computed, for a bar."""
    records = _records(wanted)
    kept = {path: kept_names(_kept(zoo, found)) for path, found in records.items()}
    return sum(samples_of(figure.found.record) for figure in _lacking(wanted, kept))


def resampled(
    wanted: Sequence[Figure], zoo: Path, tick: Callable[[int], object] = lambda count: None
) -> list[Floats | None]:
    """Bootstrap samples of each figure, percent; all of one test set by the same draws of images.

    None for a figure without outcomes: its record, or its part of it, is of an earlier build. What
    `zoo` keeps is not computed again; what is computed is kept. `UserError` for outcomes that are
    missing, damaged, of other images, or do not give the record's figure. `tick` is told how many
    samples of figures are done.
    """
    records = _records(wanted)
    known = {
        path: read_kept(_kept(zoo, found), samples_of(found.record))
        for path, found in records.items()
    }
    fresh: dict[str, set[str]] = {}
    for figure in _lacking(wanted, known):
        fresh.setdefault(str(figure.found.path), set()).add(figure.name)
    made = _computed([(records[path], names) for path, names in fresh.items()], tick)
    for path, samples in zip(fresh, made):
        known[path] |= samples
        if samples:
            write_kept(_kept(zoo, records[path]), known[path])
    return [known[str(figure.found.path)].get(figure.name) for figure in wanted]


def _records(wanted: Sequence[Figure]) -> dict[str, Found]:
    """The records of the figures, by path."""
    return {str(figure.found.path): figure.found for figure in wanted}


def _lacking(wanted: Sequence[Figure], known: Mapping[str, Collection[str]]) -> list[Figure]:
    """The figures to be computed, where those in `known` are kept."""
    return [
        figure
        for figure in wanted
        if figure.found.record.outcomes and figure.name not in known[str(figure.found.path)]
    ]


def _kept(zoo: Path, found: Found) -> Path:
    record = found.record
    sources = sorted({draws_of(record, str(k)) for k in shots_of(record)})
    # Those of seed 0 are called as they were when all draws were taken again together.
    what = "" if sources in ([], ["seed 0"]) else f"draws of {', '.join(sources)}"
    return kept_path(zoo, record, {one.name: one.value for one in figures(found)}, what)


def _computed(
    wanted: Sequence[tuple[Found, set[str]]], tick: Callable[[int], object]
) -> list[dict[str, Floats]]:
    """The samples of the named figures of each record; the images are drawn once for all."""
    found: list[dict[str, Floats]] = [{} for _ in wanted]
    by_images: dict[tuple[str, int, int], list[int]] = {}
    for at, (item, _) in enumerate(wanted):
        split = test_split(item)
        alike = (split.sha256, split.images, samples_of(item.record))
        by_images.setdefault(alike, []).append(at)
    for (sha256, images, samples), places in by_images.items():
        made = [sources(*wanted[at]) for at in places]
        if any(made):
            for at, one in zip(places, in_blocks(made, images, sha256, samples, tick)):
                found[at] = one
    return found


def in_blocks(
    made: "Sequence[Mapping[str, Resample]]",
    images: int,
    sha256: str,
    samples: int,
    tick: Callable[[int], object] = lambda count: None,
    processes: int | None = None,
) -> list[dict[str, Floats]]:
    """All samples of each figure of each mapping, (samples,), a block to a process.

    Processes, as the calls on a block are too short for threads to share an interpreter. A block
    is drawn and computed by itself, so that nothing depends on the number of `processes`
    (None: OMP_NUM_THREADS where it is set, else the cores, at most `MOST_PROCESSES`).
    """

    def block(place: tuple[int, int]) -> list[dict[str, Floats]]:
        counts = block_counts(images, sha256, *place)
        return [{name: one(counts, place[0]) for name, one in some.items()} for some in made]

    # A thousand samples are shared, too.
    places = blocks(samples, min(BLOCK, -(-samples // MOST_PROCESSES)))
    processes = processes or min(MOST_PROCESSES, share_of(1, os.environ))
    parts: list[list[dict[str, Floats]]] = []
    for place, part in zip(places, each(block, places, processes)):
        parts.append(part)
        tick(place[1] * sum(map(len, made)))
    return [
        {name: np.concatenate([part[at][name] for part in parts]) for name in some}
        for at, some in enumerate(made)
    ]


Resample = Callable[[Counts, int], Floats]  # the samples of a block that begins at this one


def sources(found: Found, names: Collection[str] | None = None) -> dict[str, Resample]:
    """How the named figures (None: all) of a record that has outcomes are resampled."""
    record = found.record
    assert record.outcomes is not None
    tensors = read_outcomes(found.path, record.outcomes, test_split(found))
    made = {
        figure.name: _resample(figure, tensors)
        for figure in figures(found)
        if names is None or figure.name in names
    }
    return {name: resample for name, resample in made.items() if resample is not None}


def _resample(figure: Figure, tensors: Mapping[str, NDArray[Any]]) -> Resample | None:
    record = figure.found.record
    split = test_split(figure.found)
    if isinstance(record, ProbeRecord | KnnRecord | LogregRecord):
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
        classes = RankedClasses(scores, labels)
        _require(figure, float(resampled_maps(classes, once)[0]))
        return lambda counts, begin: resampled_maps(classes, counts)
    ranks = _tensor(figure, tensors, "ranks")
    if ranks is None:
        return None
    source = draws_of(record, figure.name.rpartition("k=")[2])
    draws = [RankedClasses(-draw.astype(np.float64), labels) for draw in ranks]
    _require(figure, float(np.mean([resampled_maps(classes, once)[0] for classes in draws])))

    def low_shot(counts: Counts, begin: int) -> Floats:
        """Images within draws, then draws: both are drawn again."""
        by_draw = np.stack([resampled_maps(classes, counts) for classes in draws])
        chosen = resample_draws(len(draws), split.sha256, begin, counts.shape[1], source)
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

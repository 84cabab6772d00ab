"""The VOC07 SVM protocols on one layer's features, by either engine.

Full: per class, stratified unshuffled folds scored by step-wise AP, the first cost with the best
mean, a refit on all of trainval, and the envelope AP on test. Low-shot: every cost is fitted on
every draw and tested. In full training ignored rows (-1) count as negatives, as in all public
implementations; in low-shot training and in every test they are dropped.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.files import LayerData
from benchmarks.features.labels import Labels
from benchmarks.metrics import (
    envelope_average_precision,
    ranked,
    step_average_precision,
    step_doubt,
)
from benchmarks.outcomes.halves import average_precisions, first_halves
from benchmarks.outcomes.ordering import narrow, rank_type, ranks_of
from benchmarks.protocols import LowShotProtocol, SvmProtocol
from benchmarks.results import Shot, SvmLayer
from benchmarks.svm.classes import check_classes, check_test
from benchmarks.svm.machine import Machine
from benchmarks.svm.solver.fits import Engine, Fits, Floats
from benchmarks.svm.solver.workers import shared_array

MOST_RANKS = 2**30  # bytes of test ranks that low-shot training keeps


def stratified_folds(positive: NDArray[np.bool_], folds: int) -> NDArray[np.int64]:
    """The fold that holds out each row, (N,), as scikit-learn's unshuffled `StratifiedKFold`.

    Classes are encoded in the order in which they appear; each class's rows go to the folds in
    order, in the numbers that a deal of the sorted labels gives each fold.
    """
    encoded = (positive != positive[0]).astype(np.int64)
    dealt = np.sort(encoded)
    held = np.empty(len(positive), dtype=np.int64)
    for label in (0, 1):
        sizes = [int((dealt[fold::folds] == label).sum()) for fold in range(folds)]
        held[encoded == label] = np.arange(folds).repeat(sizes)
    return held


def evaluate_full(machine: Machine, protocol: SvmProtocol) -> SvmLayer:
    """The full protocol on one layer; percent.

    Raises `UserError` for a class with fewer positives (or negatives) than folds, where the public
    scripts select by NaN, and for a class without test positives or negatives.
    """
    data, costs = machine.data, np.array(protocol.costs)
    positive = (data.train_labels == 1).T
    check_classes(data.train_labels, data.test_labels, data.classes, protocol)
    signs = np.where(positive, 1, -1).astype(np.int8)
    held = np.stack([stratified_folds(row, protocol.folds) for row in positive])
    problems = np.stack(
        [np.where(held == fold, 0, signs) for fold in range(protocol.folds)], axis=1
    )
    names = [name for name in data.classes for _ in range(protocol.folds)]
    count, rows = signs.shape
    flat = problems.reshape(-1, rows)

    def grade_fold(problem: int, _: int, scores: NDArray[Any]) -> Floats:
        column, fold = divmod(problem, protocol.folds)
        out = held[column] == fold
        return step_average_precision(scores[:, out], positive[column, out])

    def doubt_fold(problem: int, _: int, scores: NDArray[Any], error: Floats) -> Floats:
        column, fold = divmod(problem, protocol.folds)
        out = held[column] == fold
        return step_doubt(scores[:, out], positive[column, out], error)

    tiled = np.tile(costs, (len(flat), 1))
    fits = machine.fit(flat, tiled, grade_fold, names, on_test=False, doubt=doubt_fold)
    # Folds first, so that their sum has the order of cross_val_score's.
    by_fold = fits.grades.reshape(count, protocol.folds, len(costs)).transpose(1, 0, 2).copy()
    cv_ap = by_fold.mean(0)
    best = cv_ap.argmax(1)  # the first maximum
    start = _average_dual(machine.engine, best, protocol.folds)
    chosen = costs[best]

    kept = shared_array((count, len(data.test_labels)), np.float64)

    def grade_test(column: int, _: int, scores: NDArray[Any]) -> Floats:
        kept[column] = scores[0]
        return _test_ap(data, column, scores)

    final = machine.fit(signs, chosen[:, None], grade_test, data.classes, on_test=True, start=start)
    machine.outcomes = {"scores": narrow(kept).T, "labels": data.test_labels}
    ap = final.grades[:, 0]
    effort = fits.effort.reshape(count, protocol.folds, len(costs)).max(1)
    convergence = {
        **_state(machine, fits),
        "cross_validation": _round(effort),
        "refit": _round(final.effort[:, 0]),
    }
    return SvmLayer(
        map=float(100 * ap.mean()),
        ap=tuple((100 * ap).tolist()),
        cost=tuple(chosen.tolist()),
        cv_ap=tuple(map(tuple, (100 * cv_ap).tolist())),
        convergence=convergence,
    )


def evaluate_low_shot(
    machine: Machine, protocol: LowShotProtocol, targets: Labels, sha256: str
) -> Shot:
    """One k of the low-shot protocol on one layer; percent.

    `targets` is (samples, N, classes): 1, 0 for negatives, -1 for rows that were not drawn.
    `sha256` is the hash of the list of test images, by which they are halved for the outcomes.
    """
    data, costs = machine.data, np.array(protocol.costs)
    samples, rows, count = targets.shape
    check_test(data.test_labels, data.classes)
    drawn = np.select([targets == 1, targets == 0], [1, -1], 0).astype(np.int8)
    problems = drawn.transpose(0, 2, 1).reshape(-1, rows)
    names = [f"{name} of draw {sample + 1}" for sample in range(samples) for name in data.classes]

    kept = _room_for_ranks(machine, (len(problems), len(costs), len(data.test_labels)))
    first = first_halves(len(data.test_labels), sha256)
    by_half = shared_array((len(problems), len(costs), 2 * len(first)), np.float64)

    def grade(problem: int, cost: int, scores: NDArray[Any]) -> Floats:
        if kept is None:
            return _test_ap(data, problem % count, scores)
        if not np.isfinite(scores).all():
            raise ValueError("scores are not finite")
        order, here = ranked(scores), slice(cost, cost + len(scores))
        kept[problem, here] = ranks_of(order)
        labels = data.test_labels[:, problem % count]
        ap, by_half[problem, here] = average_precisions(order, labels, first)
        return ap

    tiled = np.tile(costs, (len(problems), 1))
    fits = machine.fit(problems, tiled, grade, names, on_test=True)
    ap = fits.grades.reshape(samples, count, len(costs)).transpose(1, 0, 2).copy()
    by_draw = 100 * ap.mean(0).T  # (costs, samples)
    best = int(by_draw.mean(1).argmax())
    at = by_draw[best]
    if kept is not None:
        places = kept[:, best].reshape(samples, count, -1).transpose(0, 2, 1)
        halves = _half_maps(by_half.reshape(samples, count, *by_half.shape[1:]))
        machine.outcomes = {"ranks": places, "labels": data.test_labels, "halves": halves}
    convergence = {**_state(machine, fits), "by_cost": _round(fits.effort.max(0))}
    return Shot(
        mean=float(at.mean()),
        min=float(at.min()),
        max=float(at.max()),
        std=float(at.std()),
        cost=float(costs[best]),
        by_cost={repr(cost): tuple(row) for cost, row in zip(protocol.costs, by_draw.tolist())},
        convergence=convergence,
    )


def _room_for_ranks(machine: Machine, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Where the test ranks of every problem and cost are kept until the cost is chosen."""
    kind = rank_type(shape[-1])
    size = np.dtype(kind).itemsize * math.prod(shape)
    if size <= MOST_RANKS:
        return shared_array(shape, kind)
    machine.notes.append(
        f"no outcomes are kept, so that there is no interval: {size / 2**30:.1f} GiB of test ranks"
    )
    return None


def _half_maps(ap: Floats) -> Floats:
    """The mAP at every cost on halves of the test images, mean over draws, (costs, halves).

    Percent; by it the cost can be chosen without the images that judge it. `ap` is in 0..1,
    (samples, classes, costs, halves). A class without a positive in a half is left out there.
    """
    known = ~np.isnan(ap)
    with np.errstate(invalid="ignore"):
        maps = 100 * np.where(known, ap, 0.0).sum(1) / known.sum(1)
    mean: Floats = maps.mean(0)
    return mean


def _test_ap(data: LayerData, column: int, scores: Floats) -> Floats:
    """Envelope AP of one class over the test rows that are not ignored."""
    labels = data.test_labels[:, column]
    kept = labels != -1
    return envelope_average_precision(scores[..., kept], labels[kept] == 1)


def _average_dual(engine: Engine, best: NDArray[np.int64], folds: int) -> NDArray[Any] | None:
    """Start the refit from the mean of the folds' solutions, whose values are nearly right."""
    dual = getattr(engine, "dual", None)
    if dual is None or folds < 2:
        return None
    shaped = dual.reshape(len(best), folds, *dual.shape[1:])
    chosen = [shaped[column, :, cost].mean(0) for column, cost in enumerate(best)]
    return np.stack(chosen)


def _state(machine: Machine, fits: Fits) -> dict[str, Any]:
    return {"solver": machine.solver, **fits.state, "unsolved": int(fits.unsolved.sum())}


def _round(values: Floats) -> list[Any]:
    """Three digits are enough for a residual."""
    return np.vectorize(lambda value: float(f"{value:.3g}"))(values).tolist()  # type: ignore[no-any-return]

"""Newton's method on the features themselves, in fp64, for what is left unsolved of narrow rows.

The systems are those of `solver.block.Features`, whose rows are rounded to fp32; what is measured
is of the features as they came, so that rounding slows a step down and moves no solution.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.svm.solver.block import Features
from benchmarks.svm.solver.compact import processes_with_room
from benchmarks.svm.solver.convergence import relative, search_alone, spread_alone, tau_of
from benchmarks.svm.solver.fits import Floats
from benchmarks.svm.solver.kernel import Kernel
from benchmarks.svm.solver.problems import Problems
from benchmarks.svm.solver.rows import CHUNK, normalised
from benchmarks.svm.solver.workers import each

NEWTON_STEPS = 30


@dataclass(frozen=True)
class Refined:
    """One problem at its cost."""

    dual: Floats  # (N,)
    value: Floats  # (N,): f
    residual: float  # in units of the tolerance's right-hand side
    newton: int  # Newton steps


def refine_on_features(kernel: Kernel, problems: Problems, dual: Floats) -> list[Refined]:
    """Solve problems with one cost each from `dual` (P, N), each by one of several processes.

    `UserError` when there is no room for one.
    """

    def refine(problem: int) -> Refined:
        return _refine(kernel, problems, problem, dual[problem])

    count = len(problems.labels)
    return list(each(refine, range(count), processes_with_room(kernel, count, kernel.size)))


def _refine(kernel: Kernel, problems: Problems, problem: int, start: Floats) -> Refined:
    labels, weights = problems.labels[problem], problems.weights_of(problem)
    cost = float(problems.costs[problem, 0])
    train = labels != 0
    ridge = np.where(train, 1 / (2 * cost * np.where(train, weights, 1.0)), 0.0)
    tau = float(tau_of(np.array(cost)))
    system = Features(kernel.training.rows, kernel.training.mean)
    dual, value = start, _value(kernel, start)
    for step in range(NEWTON_STEPS + 1):
        slack = (1 - labels * value).clip(min=0)
        residual = relative(ridge * dual - labels * slack, tau * spread_alone(value[train]))
        if residual <= problems.tolerance or step == NEWTON_STEPS:
            break
        active = train & (labels * value < 1)
        base = np.where(active, dual, 0.0)
        there = value if np.array_equal(base, dual) else _value(kernel, base)
        rest = np.where(active, labels - there - ridge * base, 0.0)
        target = base + system.solve(active, weights, cost, rest)
        target_value = _value(kernel, target)
        length = 1.0
        if not np.array_equal(train & (labels * target_value < 1), active):
            own = (labels, ridge, dual, value, target - dual, target_value - value)
            length = search_alone(*(part[train] for part in own))
        if length == 1:
            dual, value = target, target_value
        else:
            dual, value = dual + length * (target - dual), value + length * (target_value - value)
    return Refined(dual, value, residual, step)


def _value(kernel: Kernel, dual: Floats) -> Floats:
    """f on all training rows, (N,), of b (N,)."""
    own = kernel.training
    weights, value = np.zeros(own.features.shape[1]), np.empty_like(dual)
    strips = [slice(start, start + CHUNK) for start in range(0, len(dual), CHUNK)]
    for strip in strips:
        if dual[strip].any():
            weights += dual[strip] @ normalised(own.features, own.epsilon, strip)
    for strip in strips:
        value[strip] = normalised(own.features, own.epsilon, strip) @ weights
    value += dual.sum()
    return value

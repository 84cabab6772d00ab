"""Squared-hinge SVMs on one Gram matrix: all problems in groups, then what is left on blocks."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.svm.solver.compact import Deliver, Parked, finish
from benchmarks.svm.solver.fits import Floats, Floats32, Ints
from benchmarks.svm.solver.kernel import Kernel
from benchmarks.svm.solver.multiplying import threads_here
from benchmarks.svm.solver.newton import Group
from benchmarks.svm.solver.problems import Problems

GROUP = 10  # with fewer problems in a group its products are slower than its threads gain

Solved = Callable[[Ints, Ints, Floats, Floats], None]


@dataclass(frozen=True)
class Report:
    """How each problem at each cost ended."""

    residual: Floats  # (M, L), in units of the tolerance's right-hand side
    newton: Ints  # (M, L): Newton steps
    products: int  # products with the Gram matrix


def solve(
    kernel: Kernel,
    factor: Floats32,
    problems: Problems,
    solved: Solved,
    tick: Callable[[int], None] = lambda count: None,
    need_values: bool = True,
) -> Report:
    """Solve all problems; `solved(problem, cost, dual, value)` receives each solution once.

    `factor` is F of `kernel.eigenspace`. `solved` gets (k,) indices and (k, N) fp64 arrays, from
    any thread; `tick` gets the number of solutions at once. Unsolved ones are delivered as they
    are and marked in the report. With `need_values=False` nobody reads the values: they may all be
    of fp32 sums.
    """
    report = Report(
        np.full(problems.costs.shape, np.inf), np.zeros(problems.costs.shape, np.int64), 0
    )
    lock = threading.Lock()

    def deliver(
        index: Ints, step: Ints, dual: Floats, value: Floats, residual: Floats, newton: Ints
    ) -> None:
        report.residual[index, step], report.newton[index, step] = residual, newton
        solved(index, step, dual, value)
        with lock:
            tick(len(index))

    products, parked = _in_groups(kernel, factor, problems, deliver)
    if parked:
        joined = Parked.joined(parked)
        products += finish(kernel, factor, joined, problems.costs, deliver, need_values)
    return Report(report.residual, report.newton, products)


def _in_groups(
    kernel: Kernel, factor: Floats32, problems: Problems, deliver: Deliver
) -> tuple[int, list[Parked]]:
    """Solve the problems in groups, a thread each; products, and what is left for blocks.

    Every group steps by itself, so that no thread waits for another within a step.
    """
    count, threads = len(problems.labels), threads_here()
    groups = max(1, min(threads, count // GROUP))
    shared = -(-threads // groups)  # threads that make the products of a group
    # Neighbours are alike, as the folds of a class are: each group has its share of them.
    solvers = [
        Group(kernel, factor, problems, np.arange(group, count, groups), deliver, shared)
        for group in range(groups)
    ]
    if groups == 1:
        solvers[0].run()
    else:
        with ThreadPoolExecutor(groups) as pool:
            try:
                for done in [pool.submit(solver.run) for solver in solvers]:
                    done.result()
            except BaseException:
                for solver in solvers:
                    solver.stopped = True
                raise
    return sum(one.products for one in solvers), [part for one in solvers for part in one.parked]

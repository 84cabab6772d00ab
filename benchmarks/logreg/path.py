"""The path of solutions over ascending costs: each begins where the last ones point to."""

from collections.abc import Iterator, Sequence

from benchmarks.logreg.newton import Solution, solve
from benchmarks.logreg.precondition import Basis, Preconditioner
from benchmarks.logreg.problem import Model, Problem

RENEWED = 4.0  # times the cost that it was made for, a preconditioner is made anew


def solutions(problem: Problem, costs: Sequence[float]) -> Iterator[Solution]:
    """The minimum at each of `costs`, in their order, which is best ascending and geometric."""
    basis = Basis.of(problem)
    inverse: Preconditioner | None = None
    made_for = 0.0
    known: list[Model] = []  # the last three
    for cost in costs:
        start = _continued(known) if known else problem.zero()
        point = problem.at(start, cost)
        if inverse is None or not made_for <= cost < RENEWED * made_for:
            inverse, made_for = Preconditioner(basis, point, cost), cost
        found = solve(problem, inverse, point, cost)
        known = [*known[-2:], found.model]
        yield found


def _continued(known: Sequence[Model]) -> Model:
    """The next model of a path, by the parabola (or what there is) through the last three."""
    weights = {1: (1.0,), 2: (-1.0, 2.0), 3: (1.0, -3.0, 3.0)}[len(known)]
    weight = sum((factor * one.weight for factor, one in zip(weights, known)), 0 * known[0].weight)
    bias = sum((factor * one.bias for factor, one in zip(weights, known)), 0 * known[0].bias)
    return Model(weight, bias)

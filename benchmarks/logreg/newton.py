"""Newton's method on a logistic regression, its steps by preconditioned conjugate gradients.

Each step is solved only as far as it helps: until the residual has fallen by `FORCING`. From where
a path points to (see `benchmarks.logreg.path`) one to three steps lead to the minimum of a cost.
"""

from dataclasses import dataclass

from benchmarks.logreg.precondition import Preconditioner
from benchmarks.logreg.problem import Model, Point, Problem

TOLERANCE = 1e-9  # of the objective, relative: how far above its minimum it may end
FORCING = 0.05  # of the residual that conjugate gradients leave of a step
LEFT = 0.01  # of what a step saved, at most, is still to be saved after it,
QUICK = 0.1  # if that is less than this part of what the step before saved
RENEWED = 4  # Newton steps that share one preconditioner
STEPS = 100  # of Newton, per cost
CG_STEPS = 500  # per Newton step
HALVINGS = 30
ARMIJO = 1e-4


@dataclass(frozen=True)
class Solution:
    """The minimum at one cost, and how it was found."""

    model: Model
    value: float  # of the objective
    gap: float  # an estimate of how far above its minimum it is, relative
    steps: int  # of Newton
    products: int  # with the Hessian
    converged: bool


def solve(problem: Problem, inverse: Preconditioner, point: Point, cost: float) -> Solution:
    """Minimise from `point`, which is best near the solution."""
    products, gap, before = 0, float("inf"), float("inf")
    for number in range(1, STEPS + 1):
        direction, used = _newton_direction(problem, point, cost, inverse)
        products += used
        decrement = -point.gradient.dot(direction)
        moved = _moved(problem, point, cost, direction, decrement)
        if moved is None:  # no step leads further down: rounding is all that is left
            return _ended(point, decrement / 2, number, products)
        saved = max(decrement / 2, point.value - moved.value)
        point = moved
        quick = saved <= QUICK * before
        gap = (LEFT if quick else 1.0) * saved / point.value
        before = saved
        if gap <= TOLERANCE:
            return Solution(point.model, point.value, gap, number, products, True)
        if number % RENEWED == 0:
            inverse = Preconditioner(inverse.basis, point, cost)
    return Solution(point.model, point.value, gap, STEPS, products, False)


def _ended(point: Point, gap: float, steps: int, products: int) -> Solution:
    """Where a direction leads nowhere; one that leads upwards is of rounding, and tells nothing."""
    relative = abs(gap) / point.value
    return Solution(
        point.model, point.value, relative, steps, products, 0 <= gap / point.value <= 1e-8
    )


def _moved(
    problem: Problem, point: Point, cost: float, direction: Model, decrement: float
) -> Point | None:
    """The first point along a direction that is low enough; None when there is none."""
    step = 1.0
    for _ in range(HALVINGS):
        found = problem.at(point.model.moved(direction, step), cost)
        if found.value <= point.value - ARMIJO * step * decrement:
            return found
        step /= 2
    return None


def _newton_direction(
    problem: Problem, point: Point, cost: float, inverse: Preconditioner
) -> tuple[Model, int]:
    """Where the quadratic model of the objective falls, by preconditioned conjugate gradients."""
    zero = problem.zero()
    found = zero
    residual = zero.moved(point.gradient, -1.0)
    turned = inverse(residual)
    direction = turned
    old = residual.dot(turned)
    first = old
    for number in range(1, CG_STEPS + 1):
        if old <= 0:
            break
        curved = problem.curvature(point, cost, direction)
        bend = direction.dot(curved)
        if bend <= 0:  # by rounding alone: the Hessian has no such direction
            return (found if number > 1 else direction), number
        length = old / bend
        found = found.moved(direction, length)
        residual = residual.moved(curved, -length)
        turned = inverse(residual)
        new = residual.dot(turned)
        if new <= FORCING**2 * first:
            return found, number
        direction = turned.moved(direction, new / old)
        old = new
    return found, CG_STEPS

"""Newton's method on a logistic regression, its steps by conjugate gradients.

Each step is solved only as far as it helps (the residual falls by `FORCING`), with a preconditioner
of two small eigendecompositions: the Hessian's data part, a sum of Kronecker products, is replaced
by one product of the sums, which is exact where all rows are equally undecided, as they are at a
small cost. From the solution of one cost to the next one along a path two or three steps are left.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.logreg.problem import Model, Point, Problem

TOLERANCE = 1e-9  # of the objective, relative: how far above its minimum it may end
FORCING = 0.05  # of the residual that conjugate gradients leave of a step
LEFT = 0.01  # of what a step saved, at most, is still to be saved after it
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


def solve(problem: Problem, cost: float, start: Model) -> Solution:
    """Minimise from `start`, which is best near the solution."""
    point = problem.at(start, cost)
    inverse = _Inverse.of(problem, point, cost)
    products, gap = 0, float("inf")
    for number in range(1, STEPS + 1):
        direction, used = _newton_direction(problem, point, cost, inverse)
        products += used
        decrement = -point.gradient.dot(direction)
        moved = _moved(problem, point, cost, direction, decrement)
        if moved is None:  # no step leads further down: rounding is all that is left
            return _ended(point, decrement / 2, number, products)
        saved = max(decrement / 2, point.value - moved.value)
        point = moved
        gap = LEFT * saved / point.value
        if gap <= TOLERANCE:
            return Solution(point.model, point.value, gap, number, products, True)
        if number % RENEWED == 0:
            inverse = _Inverse.of(problem, point, cost)
    return Solution(point.model, point.value, gap, STEPS, products, False)


def _ended(point: Point, gap: float, steps: int, products: int) -> Solution:
    relative = max(gap, 0.0) / point.value
    return Solution(point.model, point.value, relative, steps, products, relative <= 1e-8)


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


@dataclass(frozen=True)
class _Inverse:
    """The preconditioner: in the eigenvectors of both factors it is a division."""

    left: Tensor  # (D, D) eigenvectors of the weighted Gram matrix
    right: Tensor  # (K, K) of the classes' covariance
    divisor: Tensor  # (D, K)
    biases: Tensor  # (K, K): pseudo-inverse for the intercept

    @classmethod
    def of(cls, problem: Problem, point: Point, cost: float) -> "_Inverse":
        gram, classes, weight = problem.spread(point)
        values, left = torch.linalg.eigh(gram)
        spreads, right = torch.linalg.eigh(classes)
        values, spreads = values.clamp(min=0), spreads.clamp(min=0)
        weight = max(weight, 1e-300)
        divisor = cost * torch.outer(values, spreads) / weight + 1.0
        largest = float(spreads.max())
        inverted = torch.where(spreads > 1e-12 * largest, 1 / (cost * spreads), 0.0)
        return cls(left, right, divisor, (right * inverted) @ right.T)

    def __call__(self, model: Model) -> Model:
        turned = (self.left.T @ model.weight @ self.right) / self.divisor
        return Model(self.left @ turned @ self.right.T, self.biases @ model.bias)


def _newton_direction(
    problem: Problem, point: Point, cost: float, inverse: _Inverse
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

"""All small costs of a problem from one Krylov space.

While every training row violates its margin, the squared-hinge SVM is ridge regression: with
S = sqrt(2 w) on the training rows (w the class weight) and b = S z,

    (S K S + I / C) z = S y,

so the costs are shifts of one matrix with one right-hand side and share one Lanczos basis.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.svm.solver.convergence import TINY, norms
from benchmarks.svm.solver.fits import Floats

LANCZOS_STEPS = 10
LANCZOS_COST = 0.3  # above this a problem has too many satisfied margins for the ridge start


@dataclass(frozen=True)
class Flat:
    """Solutions of the ridge problem, as if every training row were active.

    `dual` is b and `value` is f = K b, both (M, L, N) fp64.
    """

    dual: Floats
    value: Floats


def solve_all_active(
    multiply: Callable[[Floats], Floats],
    labels: Floats,
    scale: Floats,
    costs: Floats,
    steps: int,
) -> Flat:
    """Solve M problems for each of L costs; `multiply` takes (M, N) to its product with K.

    `labels` is (M, N) with 1, -1, and 0 outside training; `scale` is S, (M, N) fp64; `costs` is
    (M, L) fp64. The caller checks activity and residuals: nothing here is trusted.
    """
    count, size = labels.shape
    basis = np.zeros((count, steps, size))
    images = np.zeros_like(basis)
    tridiagonal = np.zeros((count, steps, steps))
    vector = scale * labels
    length = norms(vector)
    vector /= length[:, None]
    for step in range(steps):
        basis[:, step] = vector
        images[:, step] = multiply(scale * vector)
        image = scale * images[:, step]
        known = basis[:, : step + 1]
        for again in range(2):  # what rounding left of the known directions goes as well
            weights = np.matmul(known, image[:, :, None])[:, :, 0]
            image -= np.matmul(weights[:, None], known)[:, 0]
            if not again:
                tridiagonal[:, step, step] = weights[:, step]
        norm = norms(image)
        # A space that is exhausted (few rows) goes on with zeros.
        norm = np.where(norm > 1e-10 * np.abs(tridiagonal[:, 0, 0]), norm, 0.0)
        vector = np.where(norm[:, None] > 0, image / norm.clip(min=TINY)[:, None], 0.0)
        if step + 1 < steps:
            tridiagonal[:, step, step + 1] = tridiagonal[:, step + 1, step] = norm
    shifted = tridiagonal[:, None] + (1 / costs)[:, :, None, None] * np.eye(steps)
    first = np.zeros((*costs.shape, steps, 1))
    first[:, :, 0, 0] = length[:, None]
    weights = np.linalg.solve(shifted, first)[..., 0]
    return Flat(np.matmul(weights, basis) * scale[:, None], np.matmul(weights, images))

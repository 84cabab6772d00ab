"""All small costs of a problem from one Krylov space.

While every training row violates its margin, the squared-hinge SVM is ridge regression: with
S = sqrt(2 w) on the training rows (w the class weight) and b = S z,

    (S K S + I / C) z = S y,

so the costs are shifts of one matrix with one right-hand side and share one Lanczos basis.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LANCZOS_STEPS = 10
LANCZOS_COST = 0.3  # above this a problem has too many satisfied margins for the ridge start


@dataclass(frozen=True)
class Flat:
    """Solutions of the ridge problem, as if every training row were active.

    `dual` is b and `value` is f = K b, both (M, L, N) fp64.
    """

    dual: Tensor
    value: Tensor


def solve_all_active(
    multiply: Callable[[Tensor], Tensor],
    labels: Tensor,
    scale: Tensor,
    costs: Tensor,
    steps: int,
) -> Flat:
    """Solve M problems for each of L costs; `multiply` takes (M, N) to its product with K.

    `labels` is (M, N) with 1, -1, and 0 outside training; `scale` is S, (M, N) fp64; `costs` is
    (M, L) fp64. The caller checks activity and residuals: nothing here is trusted.
    """
    count, size = labels.shape
    basis = torch.zeros((count, steps, size), dtype=torch.float64)
    images = torch.zeros_like(basis)
    tridiagonal = torch.zeros((count, steps, steps), dtype=torch.float64)
    vector = scale * labels
    length = torch.linalg.vector_norm(vector, dim=1)
    vector = vector / length[:, None]
    for step in range(steps):
        basis[:, step] = vector
        images[:, step] = multiply(scale * vector)
        image = scale * images[:, step]
        known = basis[:, : step + 1]
        weights = torch.bmm(known, image[:, :, None])
        tridiagonal[:, step, step] = weights[:, step, 0]
        image = image - torch.bmm(weights.transpose(1, 2), known)[:, 0]
        again = torch.bmm(known, image[:, :, None])
        image = image - torch.bmm(again.transpose(1, 2), known)[:, 0]
        norm = torch.linalg.vector_norm(image, dim=1)
        # A space that is exhausted (few rows) goes on with zeros.
        norm = torch.where(norm > 1e-10 * tridiagonal[:, 0, 0].abs(), norm, 0.0)
        vector = torch.where(norm[:, None] > 0, image / norm.clamp(min=1e-300)[:, None], 0.0)
        if step + 1 < steps:
            tridiagonal[:, step, step + 1] = tridiagonal[:, step + 1, step] = norm
    shifts = torch.diag_embed((1 / costs)[:, :, None].expand(-1, -1, steps))
    first = torch.zeros((*costs.shape, steps), dtype=torch.float64)
    first[:, :, 0] = length[:, None]
    weights = torch.linalg.solve(tridiagonal[:, None] + shifts, first)
    return Flat(torch.bmm(weights, basis) * scale[:, None], torch.bmm(weights, images))

"""The preconditioner of the batched solver: a diagonal and the leading part of K.

With F F' close to that part, E the diagonal of what is left, and active rows e = active / (D + E),

    M^-1 r = e r - e F S^-1 F'(e r),    S = I + F' diag(e) F    (Woodbury).
"""

import torch
from torch import Tensor

from benchmarks.svm.solver.problems import State


class Preconditioner:
    """For problems that each have their own active rows and cost.

    `factor` is F (N, r) fp32 of `kernel.eigenspace`, `diagonal` that of K, (N,) fp64.
    """

    def __init__(self, factor: Tensor, diagonal: Tensor) -> None:
        self.factor = factor
        self.rest = (diagonal - factor.double().square().sum(1)).clamp(min=0)

    def apply(self, state: State, rows: Tensor | slice) -> Tensor:
        """M^-1 of the remainders, (m, N) fp32."""
        remainder, anchored = state.remainder[rows], state.anchored[rows]
        inner = (remainder * anchored) @ self.factor
        inner = torch.bmm(inner[:, None], state.core[rows])[:, 0]
        low = (inner @ self.factor.T) * anchored
        return state.inverse[rows] * remainder - torch.where(state.active[rows], low, 0.0)

    def build(self, state: State, rows: Tensor, share: Tensor) -> None:
        """Fit it to the active rows, of which a share (m,) changed.

        While few rows change, S and the e inside keep the rows they were built for; rows that
        came since have only the diagonal part, which leaves the preconditioner positive.
        """
        state.inverse[rows] = torch.where(
            state.active[rows], 1 / (state.ridge[rows] + self.rest), 0.0
        ).float()
        anew = rows[~state.built[rows] | (share > 0.1)]
        for row in anew.tolist():
            members = torch.nonzero(state.active[row])[:, 0]
            part = self.factor[members]
            scaled = part * state.inverse[row, members, None]
            core = (scaled.T @ part).double()
            core.diagonal().add_(1)
            state.core[row] = torch.linalg.inv(core).float()
        state.anchored[anew] = state.inverse[anew]
        state.built[anew] = True

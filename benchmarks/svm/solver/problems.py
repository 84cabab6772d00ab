"""Many SVM problems over the same rows, and how far each of them is on its way."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from benchmarks.svm.solver.convergence import TOLERANCE

REFINED = 1e-8  # the tolerance of problems that are refined


@dataclass(frozen=True)
class Problems:
    """M problems over the same N rows, each with L ascending costs."""

    labels: Tensor  # (M, N) float64: 1, -1, and 0 outside training
    costs: Tensor  # (M, L) float64
    positive_weight: float
    start: Tensor | None = None  # (M, N) float64: b to start the first cost from
    start_value: Tensor | None = None  # (M, N) float64: its f, more exact than K of fp32 gives it

    @property
    def refining(self) -> bool:
        """Whether the solutions are there and only the rounding of K is to be mended."""
        return self.start_value is not None

    @property
    def tolerance(self) -> float:
        """The residual at which a problem is solved."""
        return REFINED if self.refining else TOLERANCE

    @property
    def weights(self) -> Tensor:
        """Class weights (M, N) float64, 0 outside training."""
        return self._weights(self.labels)

    def weights_of(self, problem: int) -> Tensor:
        """Class weights of one problem, (N,) float64."""
        return self._weights(self.labels[problem])

    def _weights(self, labels: Tensor) -> Tensor:
        return torch.where(labels > 0, self.positive_weight, 1.0) * labels.abs()


@dataclass
class State:
    """The problems under way; every tensor has one row a problem."""

    index: Tensor  # which problem
    step: Tensor  # which of its costs
    running: Tensor  # (m,) bool: not yet through its costs or parked
    labels: Tensor  # (m, N) fp64
    weights: Tensor  # (m, N) fp64
    ridge: Tensor  # (m, N) fp64: D, 0 outside training
    tau: Tensor
    dual: Tensor  # (m, N) fp64: b
    value: Tensor  # (m, N) fp64: f
    active: Tensor  # (m, N) bool
    newton: Tensor  # Newton steps at this cost
    base_dual: Tensor  # where the conjugate gradients started
    base_value: Tensor
    fresh: Tensor  # (m,) bool: base_value is still to be multiplied
    move: Tensor  # (m, N) fp32: b - base_dual
    move_product: Tensor  # (m, N) fp32: its product with the centred Gram matrix
    direction: Tensor  # (m, N) fp32: what is multiplied next
    remainder: Tensor  # (m, N) fp32: residual of the Newton system
    ridge32: Tensor  # D on the active rows
    inverse: Tensor  # (m, N) fp32: diagonal part of the preconditioner, 0 outside I
    anchored: Tensor  # (m, N) fp32: the same where the low-rank part was built
    core: Tensor  # (m, r, r) fp32
    built: Tensor  # (m,) bool: the preconditioner fits this cost
    rz: Tensor
    limit: Tensor  # (m,) norm at which conjugate gradients stop
    steps: Tensor  # (m,) conjugate-gradient steps of this Newton step

    def take(self, rows: Tensor) -> "State":
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def begin(
        cls, problems: Problems, step: Tensor, dual: Tensor, value: Tensor, rank: int
    ) -> "State":
        """Problems at the costs `step` (M,), from `dual` and `value` (M, N)."""
        labels = problems.labels
        count = len(labels)
        zeros = torch.zeros(labels.shape, dtype=torch.float32)
        none = torch.zeros(count, dtype=torch.bool)
        floats = torch.zeros(count, dtype=torch.float64)
        return cls(
            index=torch.arange(count),
            step=step,
            running=step < problems.costs.shape[1],
            labels=labels,
            weights=problems.weights,
            ridge=torch.zeros_like(labels),
            tau=floats.clone(),
            dual=dual,
            value=value,
            active=torch.zeros_like(labels, dtype=torch.bool),
            newton=torch.zeros_like(step),
            base_dual=torch.zeros_like(labels),
            base_value=torch.zeros_like(labels),
            fresh=none.clone(),
            move=zeros.clone(),
            move_product=zeros.clone(),
            direction=zeros.clone(),
            remainder=zeros.clone(),
            ridge32=zeros.clone(),
            inverse=zeros.clone(),
            anchored=zeros.clone(),
            core=torch.zeros((count, rank, rank), dtype=torch.float32),
            built=none.clone(),
            rz=floats.float(),
            limit=floats.clone(),
            steps=torch.zeros_like(step),
        )

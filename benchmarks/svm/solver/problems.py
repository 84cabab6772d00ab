"""Many SVM problems over the same rows, and how far each of them is on its way."""

from dataclasses import dataclass, fields, replace

import numpy as np

from benchmarks.svm.solver.convergence import TOLERANCE
from benchmarks.svm.solver.fits import Bools, Floats, Floats32, Ints

REFINED = 1e-8


@dataclass(frozen=True)
class Problems:
    """M problems over the same N rows, each with L ascending costs."""

    labels: Floats  # (M, N): 1, -1, and 0 outside training
    costs: Floats  # (M, L)
    positive_weight: float
    start: Floats | None = None  # (M, N): b to start the first cost from
    start_value: Floats | None = None  # (M, N): its f, more exact than K of fp32 gives it
    refined: float = REFINED  # the tolerance of problems that begin so

    @property
    def refining(self) -> bool:
        """Whether the solutions are there and only the rounding of K is to be mended."""
        return self.start_value is not None

    @property
    def tolerance(self) -> float:
        """The residual at which a problem is solved."""
        return self.refined if self.refining else TOLERANCE

    @property
    def weights(self) -> Floats:
        """Class weights (M, N), 0 outside training."""
        return self._weights(self.labels)

    def weights_of(self, problem: int) -> Floats:
        """Class weights of one problem, (N,)."""
        return self._weights(self.labels[problem])

    def _weights(self, labels: Floats) -> Floats:
        return np.where(labels > 0, self.positive_weight, 1.0) * np.abs(labels)

    def some(self, chosen: Ints) -> "Problems":
        """Some of the problems."""
        names = ("labels", "costs", "start", "start_value")
        known = {name: getattr(self, name) for name in names}
        return replace(self, **{n: one[chosen] for n, one in known.items() if one is not None})


@dataclass
class State:
    """The problems under way; every array has one row a problem."""

    index: Ints  # which problem
    step: Ints  # which of its costs
    running: Bools  # (m,): not yet through its costs or parked
    labels: Floats  # (m, N)
    weights: Floats  # (m, N)
    ridge: Floats  # (m, N): D, 0 outside training
    tau: Floats
    dual: Floats  # (m, N): b
    value: Floats  # (m, N): f
    last_dual: Floats  # (m, N): the solution at the cost before, 0 before there is one
    last_value: Floats
    active: Bools  # (m, N)
    keep: Floats32  # (m, N): 1 where active, else 0
    newton: Ints  # Newton steps at this cost
    base_dual: Floats  # where the conjugate gradients started
    base_value: Floats
    fresh: Bools  # (m,): base_value is still to be multiplied
    move: Floats32  # (m, N): b - base_dual
    move_product: Floats32  # (m, N): its product with the centred Gram matrix
    direction: Floats32  # (m, N): what is multiplied next
    remainder: Floats32  # (m, N): residual of the Newton system
    ridge32: Floats32  # D on the active rows
    inverse: Floats32  # (m, N): diagonal part of the preconditioner, 0 outside I
    anchored: Floats32  # (m, N): the same where the low-rank part was built
    core: Floats32  # (m, r, r)
    built: Bools  # (m,): the preconditioner fits this cost
    rz: Floats32
    limit: Floats  # (m,) norm at which conjugate gradients stop
    steps: Ints  # (m,) conjugate-gradient steps of this Newton step

    def take(self, rows: Ints) -> "State":
        """Some of the problems."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def begin(
        cls, problems: Problems, step: Ints, dual: Floats, value: Floats, rank: int
    ) -> "State":
        """Problems at the costs `step` (M,), from `dual` and `value` (M, N)."""
        labels = problems.labels
        count = len(labels)

        def narrow() -> Floats32:
            return np.zeros(labels.shape, np.float32)

        return cls(
            index=np.arange(count),
            step=step,
            running=step < problems.costs.shape[1],
            labels=labels,
            weights=problems.weights,
            ridge=np.zeros_like(labels),
            tau=np.zeros(count),
            dual=dual,
            value=value,
            last_dual=np.zeros_like(labels),
            last_value=np.zeros_like(labels),
            active=np.zeros(labels.shape, np.bool_),
            keep=narrow(),
            newton=np.zeros_like(step),
            base_dual=np.zeros_like(labels),
            base_value=np.zeros_like(labels),
            fresh=np.zeros(count, np.bool_),
            move=narrow(),
            move_product=narrow(),
            direction=narrow(),
            remainder=narrow(),
            ridge32=narrow(),
            inverse=narrow(),
            anchored=narrow(),
            core=np.zeros((count, rank, rank), np.float32),
            built=np.zeros(count, np.bool_),
            rz=np.zeros(count, np.float32),
            limit=np.zeros(count),
            steps=np.zeros_like(step),
        )

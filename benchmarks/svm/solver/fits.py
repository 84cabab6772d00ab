"""What an SVM engine is given and what it gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# The grades (L,) of problem p at L costs, the first of them at this index, from its scores
# (L, rows): decision values up to one constant a cost.
Grade = Callable[[int, int, NDArray[Any]], Floats]

# By how much these grades may be wrong at most, (L,), if scores are off by up to an error (L,).
Doubt = Callable[[int, int, NDArray[Any], Floats], Floats]


def no_tick(count: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, eq=False)
class Fits:
    """Solutions of P problems at L costs each, as the grades of their scores."""

    grades: Floats  # (P, L)
    unsolved: NDArray[np.bool_]  # (P, L): stopped before the engine's tolerance was reached
    effort: Floats  # (P, L): relative residual (gram) or iterations (liblinear)
    state: dict[str, Any]  # of the engine: tolerance, limits, amount of work


def joined(parts: Sequence[Fits]) -> Fits:
    """The solutions of several sets of problems; amounts of work are summed up."""
    state = dict(parts[0].state)
    for part in parts[1:]:
        for name, amount in part.state.items():
            if isinstance(amount, int):
                state[name] += amount
    grades, unsolved, effort = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("grades", "unsolved", "effort")
    )
    return Fits(grades, unsolved, effort, state)


class Engine(Protocol):
    """Solves L2-regularised squared-hinge SVMs with a regularised bias (weight 1)."""

    @property
    def device(self) -> str:
        """Where products with all features were made, for the record: cpu or cuda."""

    def fit(
        self,
        labels: NDArray[np.int8],
        costs: Floats,
        grade: Grade,
        *,
        on_test: bool,
        start: NDArray[Any] | None = None,
        doubt: Doubt | None = None,
        tick: Callable[[int], None] = no_tick,
    ) -> Fits:
        """Solve P problems and grade their scores, perhaps in other processes.

        `labels` is (P, N): 1, -1, and 0 for training rows that the problem leaves out; `costs` is
        (P, L), ascending. Scored are the test rows, or with `on_test=False` all N rows of
        trainval, of which the grade reads those left out. `start` is (P, N): the dual to start
        from, where the engine can. `doubt` says what rounding may have done to the grades, for
        engines that round. `tick` is told how many solutions have just been found.
        """

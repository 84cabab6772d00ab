"""The engine of one layer: made once; what it leaves unsolved goes to liblinear, with a note."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.files import LayerData
from benchmarks.flags.source import Solver
from benchmarks.svm.solver.fits import Doubt, Engine, Fits, Floats, Grade, no_tick
from benchmarks.svm.solver.rows import training_rows


@dataclass
class Machine:
    """The engine of one layer, what it must not do silently, and whom it tells of progress."""

    data: LayerData
    solver: Solver
    epsilon: float
    positive_weight: float
    seed: int
    device: str
    notes: list[str] = field(default_factory=list)
    outcomes: dict[str, NDArray[Any]] = field(default_factory=dict)  # of the test images
    tick: Callable[[int], None] = no_tick

    def fit(
        self,
        labels: NDArray[np.int8],
        costs: Floats,
        grade: Grade,
        names: Sequence[str],
        *,
        on_test: bool,
        start: NDArray[Any] | None = None,
        doubt: Doubt | None = None,
    ) -> Fits:
        """Solve all problems; what gram leaves unsolved goes to liblinear, with a note."""
        fits = self.engine.fit(
            labels, costs, grade, on_test=on_test, start=start, doubt=doubt, tick=self.tick
        )
        if not fits.unsolved.any():
            return fits
        where = [(names[p], float(costs[p, c])) for p, c in np.argwhere(fits.unsolved)]
        shown = ", ".join(f"{name} at cost {cost:g}" for name, cost in where[:5])
        shown += f" and {len(where) - 5} more" if len(where) > 5 else ""
        if self.solver == "liblinear":
            self.notes.append(
                f"liblinear reached its iteration limit on {len(where)} problem(s): {shown}"
            )
            return fits
        self.notes.append(
            f"the gram solver did not converge on {len(where)} problem(s), "
            f"solved by liblinear instead: {shown}"
        )
        reference = _liblinear(self, tolerance=1e-8, max_iterations=100_000)
        problem, cost = np.nonzero(fits.unsolved)
        again = reference.fit(
            labels[problem],
            costs[problem, cost][:, None],
            lambda at, _, scores: grade(problem[at], cost[at], scores),
            on_test=on_test,
        )
        if again.unsolved.any():
            name, price = where[int(np.flatnonzero(again.unsolved)[0])]
            raise RuntimeError(f"neither solver converges on {name} at cost {price:g}")
        fits.grades[problem, cost] = again.grades[:, 0]
        return fits

    @property
    def engine(self) -> Engine:
        """Made once for a layer, and kept while items of the same layer follow one another."""
        settings = (self.solver, self.epsilon, self.positive_weight, self.seed, self.device)
        return _engine(_Layer(self.data), *settings)


class _Layer:
    """Compares by the files that the features are mapped from."""

    def __init__(self, data: LayerData) -> None:
        self.data = data
        self.identity = tuple(_identity(array) for array in (data.train, data.test))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Layer) and other.identity == self.identity

    def __hash__(self) -> int:
        return hash(self.identity)


def _identity(array: NDArray[Any]) -> tuple[object, ...]:
    name = getattr(array, "filename", None)
    if name is None:
        return (id(array),)
    stat = name.stat()
    return (str(name), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1)
def _engine(
    layer: _Layer, solver: Solver, epsilon: float, positive_weight: float, seed: int, device: str
) -> Engine:
    if solver == "liblinear":
        machine = Machine(layer.data, solver, epsilon, positive_weight, seed, device)
        return _liblinear(machine)
    with training_rows(layer.data.train, epsilon, device) as training:
        from benchmarks.svm.gram import GramEngine  # and SciPy with it, meanwhile
    return GramEngine(training, layer.data.test, positive_weight=positive_weight, seed=seed)


def _liblinear(machine: Machine, **limits: Any) -> Engine:
    from benchmarks.svm.liblinear import LiblinearEngine

    return LiblinearEngine(
        machine.data.train,
        machine.data.test,
        epsilon=machine.epsilon,
        positive_weight=machine.positive_weight,
        seed=machine.seed,
        **limits,
    )

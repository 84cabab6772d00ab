"""What every solver of the squared-hinge SVM measures: its objective, its step and its end.

All functions take a batch of problems, one a row, but for the last ones, which take one alone; see
`newton` for the symbols.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.svm.solver.fits import Bools, Floats

TOLERANCE = 3e-7
LONGEST = 8.0  # Newton steps: rounding must not make a line search run away
COMPACT_COST = 0.5  # above this an ill-conditioned problem needs sums in fp64: on a block of rows
TINY = 1e-300  # what a division by zero is spared with


def ridge_of(weights: Floats, cost: Floats) -> Floats:
    """D = 1 / (2 C w) on the training rows (w > 0), 0 elsewhere; (m, N) fp64."""
    found: Floats = np.where(weights > 0, 1 / (2 * cost[:, None] * weights.clip(min=TINY)), 0.0)
    return found


def tau_of(cost: Floats) -> Floats:
    """At small costs D damps a residual, so that more of it is harmless; (m,)."""
    return 1 + 1 / (200 * cost)


def norms(rows: NDArray[Any]) -> NDArray[Any]:
    """The length of each row of (m, N), (m,)."""
    found: NDArray[Any] = np.sqrt(np.vecdot(rows, rows))
    return found


def spread_of(value: Floats, train: Bools) -> Floats:
    """||f - mean f|| over the training rows, (m,)."""
    centred = np.where(train, value, 0.0)
    mean = centred.sum(1) / train.sum(1)
    np.subtract(centred, mean[:, None], out=centred, where=train)
    return norms(centred)


def residual_of(labels: Floats, ridge: Floats, dual: Floats, value: Floats, tau: Floats) -> Floats:
    """||D b - y max(0, 1 - y f)|| / (tau ||f - mean f||), (m,); a solution has `TOLERANCE`."""
    slack = (1 - labels * value).clip(min=0)
    rest = norms(ridge * dual - labels * slack)
    scale = tau * spread_of(value, labels != 0)
    found: Floats = np.where(rest == 0, 0.0, rest / scale.clip(min=TINY))
    return found


def line_search(
    labels: Floats, ridge: Floats, dual: Floats, value: Floats, shift: Floats, shift_value: Floats
) -> Floats:
    """Minimiser 0 < t < LONGEST of the objective along b + t shift, (m,) fp64; 1 when close to it.

    The objective is piecewise quadratic in t with an increasing derivative: safeguarded Newton.
    """
    gain = np.where(ridge > 0, 1 / ridge.clip(min=TINY), 0.0)  # 2 C_i
    linear, square = np.vecdot(dual, shift_value), np.vecdot(shift, shift_value)
    along, margin = labels * shift_value, 1 - labels * value
    pushed = gain * along
    fall, curve = pushed * margin, pushed * along

    def slope(length: Floats) -> tuple[Floats, Floats]:
        violated = (margin > length[:, None] * along).astype(np.float64)
        steep = np.vecdot(curve, violated)
        first = linear + length * square - np.vecdot(fall, violated) + length * steep
        return first, square + steep

    length: Floats = np.ones_like(linear)
    low, high = np.zeros_like(length), np.full_like(length, LONGEST)
    at_zero = np.abs(slope(low)[0])
    for _ in range(30):
        first, second = slope(length)
        close = np.abs(first) <= 1e-2 * at_zero
        if close.all():
            break
        low = np.where(first < 0, length, low)
        high = np.where(first > 0, length, high)
        guess = length - first / second.clip(min=TINY)
        inside = (guess > low) & (guess < high)
        length = np.where(close, length, np.where(inside, guess, (low + high) / 2))
    return length


def search_alone(
    labels: Floats, ridge: Floats, dual: Floats, value: Floats, shift: Floats, shift_value: Floats
) -> float:
    """`line_search` of one problem, all (n,), whose rows are all trained on."""
    linear, square = float(dual @ shift_value), float(shift @ shift_value)
    along, margin = labels * shift_value, 1 - labels * value
    pushed = along / ridge
    fall, curve = pushed * margin, pushed * along

    def slope(length: float) -> tuple[float, float]:
        violated = margin - length * along > 0
        steep = float(curve @ violated)
        return linear + length * square - float(fall @ violated) + length * steep, square + steep

    length, low, high = 1.0, 0.0, LONGEST
    close = 1e-2 * abs(slope(0.0)[0])
    for _ in range(30):
        first, second = slope(length)
        if abs(first) <= close:
            break
        low, high = (length, high) if first < 0 else (low, length)
        guess = length - first / max(second, TINY)
        length = guess if low < guess < high else (low + high) / 2
    return length


def spread_alone(value: Floats) -> float:
    """||f - mean f||."""
    return float(np.linalg.norm(value - value.mean()))


def relative(rest: Floats, scale: float) -> float:
    """||rest|| / scale."""
    norm = float(np.linalg.norm(rest))
    return norm / max(scale, TINY) if norm else 0.0

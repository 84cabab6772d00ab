"""What every solver of the squared-hinge SVM measures: its objective, its step and its end.

All functions take a batch of problems, one a row, but for the last ones, which take one alone; see
`newton` for the symbols.
"""

import numpy as np
import torch
from torch import Tensor

from benchmarks.svm.solver.fits import Floats

TOLERANCE = 1e-6
LONGEST = 8.0  # Newton steps: rounding must not make a line search run away


def ridge_of(weights: Tensor, cost: Tensor) -> Tensor:
    """D = 1 / (2 C w) on the training rows (w > 0), 0 elsewhere; (m, N) fp64."""
    return torch.where(weights > 0, 1 / (2 * cost[:, None] * weights.clamp(min=1e-300)), 0.0)


def tau_of(cost: Tensor) -> Tensor:
    """At small costs D damps a residual, so that more of it is harmless; (m,)."""
    return 1 + 1 / (200 * cost)


def spread_of(value: Tensor, train: Tensor) -> Tensor:
    """||f - mean f|| over the training rows, (m,)."""
    mean = torch.where(train, value, 0.0).sum(1) / train.sum(1)
    centred = torch.where(train, value - mean[:, None], 0.0)
    spread: Tensor = torch.linalg.vector_norm(centred, dim=1)
    return spread


def residual_of(labels: Tensor, ridge: Tensor, dual: Tensor, value: Tensor, tau: Tensor) -> Tensor:
    """||D b - y max(0, 1 - y f)|| / (tau ||f - mean f||), (m,); a solution has `TOLERANCE`."""
    slack = (1 - labels * value).clamp(min=0)
    rest = torch.linalg.vector_norm(ridge * dual - labels * slack, dim=1)
    scale = tau * spread_of(value, labels != 0)
    return torch.where(rest == 0, 0.0, rest / scale.clamp(min=1e-300))


def line_search(
    labels: Tensor, ridge: Tensor, dual: Tensor, value: Tensor, shift: Tensor, shift_value: Tensor
) -> Tensor:
    """Minimiser 0 < t < LONGEST of the objective along b + t shift, (m,) fp64; 1 when close to it.

    The objective is piecewise quadratic in t with an increasing derivative: safeguarded Newton.
    """
    gain = torch.where(ridge > 0, 1 / ridge.clamp(min=1e-300), 0.0)  # 2 C_i
    linear = (dual * shift_value).sum(1)
    square = (shift * shift_value).sum(1)
    along = labels * shift_value
    margin = 1 - labels * value

    def slope(length: Tensor) -> tuple[Tensor, Tensor]:
        slack = margin - length[:, None] * along
        pushed = torch.where(slack > 0, gain * along, 0.0)
        first = linear + length * square - (pushed * slack).sum(1)
        return first, square + (pushed * along).sum(1)

    length = torch.ones_like(linear)
    low, high = torch.zeros_like(length), torch.full_like(length, LONGEST)
    at_zero = slope(low)[0].abs()
    for _ in range(30):
        first, second = slope(length)
        close = first.abs() <= 1e-2 * at_zero
        if close.all():
            break
        low = torch.where(first < 0, length, low)
        high = torch.where(first > 0, length, high)
        guess = length - first / second.clamp(min=1e-300)
        inside = (guess > low) & (guess < high)
        middle = (low + high) / 2
        length = torch.where(close, length, torch.where(inside, guess, middle))
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
        guess = length - first / max(second, 1e-300)
        length = guess if low < guess < high else (low + high) / 2
    return length


def spread_alone(value: Floats) -> float:
    """||f - mean f||."""
    return float(np.linalg.norm(value - value.mean()))


def relative(rest: Floats, scale: float) -> float:
    """||rest|| / scale."""
    norm = float(np.linalg.norm(rest))
    return norm / max(scale, 1e-300) if norm else 0.0

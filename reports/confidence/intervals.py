"""What bootstrap samples say: the interval of a figure, and of the difference of two.

Percentile intervals (Efron and Tibshirani 1993, chapter 13). That of one figure is moved so that
the samples' mean falls on the figure: images that are drawn twice raise the envelope of a
precision, by half a standard deviation at VOC07's size, and an interval that rises with it does
not cover. That of a difference is as the samples have it: both rows rise alike, and where few
images differ many samples are exactly 0, which must stay on neither side. The paired p-value asks
how often the difference changes its sign (section 15.4), counting the observed one too, so that it
is never 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.confidence.resampling import Floats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure and where it would lie on other test images of the same kind; percent."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval, what stands behind the plus-minus sign."""
        return (self.high - self.low) / 2

    @property
    def has_length(self) -> bool:
        """Whether the samples differ; where all are one, the bootstrap has no spread."""
        return self.high > self.low


@dataclass(frozen=True)
class Difference(Interval):
    """The second row less the first one, on the same images."""

    p: float  # two-sided, of no difference

    @property
    def separable(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def interval(value: float, samples: Floats, level: float = LEVEL) -> Interval:
    """The interval of `value`, percent, from its (B,) bootstrap samples."""
    low, high = _percentiles(samples - samples.mean() + value, level)
    return Interval(value, max(low, 0.0), min(high, 100.0))


def difference(value: float, first: Floats, second: Floats, level: float = LEVEL) -> Difference:
    """The paired interval of `value`, second less first, from (B,) samples of the same images."""
    samples = second - first
    low, high = _percentiles(samples, level)
    # Equal figures (of a model with itself) are on both sides.
    sides = [int((samples <= 0).sum()), int((samples >= 0).sum())]
    p = min(1.0, 2 * (1 + min(sides)) / (1 + len(samples)))
    return Difference(value, low, high, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for as many comparisons (Holm 1979), in the order given."""
    count = len(p_values)
    adjusted = [1.0] * count
    largest = 0.0
    for place, at in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (count - place) * p_values[at]))
        adjusted[at] = largest
    return adjusted


def _percentiles(samples: Floats, level: float) -> tuple[float, float]:
    tails = (1 - level) / 2
    # Two decimals are shown; beyond nine a sum's order would.
    low, high = np.round(np.quantile(samples, [tails, 1 - tails]), 9)
    return float(low), float(high)

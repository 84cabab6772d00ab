"""What a picture is made of, as plain data: panels of curves, with their intervals."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

# By the path of a record and the name of a figure of it: feature5, or feature5.CLASS.
Bounds = Mapping[tuple[str, str], tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One line: what it is called, its points, and the band around it where there is one."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class SureCurve(Curve):
    """A line whose points have intervals: the low and the high end of each, or None."""

    bars: tuple[tuple[float, float] | None, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes; `ticks` names the positions 0, 1, ... of the x axis."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    ticks: tuple[str, ...] = ()
    log_x: bool = False
    log_y: bool = False
    sideways: bool = False  # positions run down the y axis: names of classes need the room
    gap_after: int | None = None  # no line is drawn from this position to the next


@dataclass(frozen=True)
class Picture:
    """One file: its name without a suffix, what it shows in words, and its panels."""

    name: str
    alt: str
    panels: tuple[Panel, ...]


def sure(curve: Curve, bars: Sequence[tuple[float, float] | None]) -> Curve:
    """The curve with its intervals, where there are any."""
    if all(bar is None for bar in bars):
        return curve
    return SureCurve(curve.label, curve.x, curve.y, curve.low, curve.high, tuple(bars))


def fingerprint(picture: Picture) -> str:
    """Of all that a picture shows; the same whichever matplotlib draws it. 32 hex digits."""
    content = msgspec.json.encode(picture, order="deterministic")
    return hashlib.blake2b(content, digest_size=16).hexdigest()

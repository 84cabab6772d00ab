"""What a picture is made of, as plain data: curves, panels, and its fingerprint."""

import hashlib
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True)
class Curve:
    """One line: what it is called, its points, and the band around it where there is one."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


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


def fingerprint(picture: Picture) -> str:
    """Of all that a picture shows; the same whichever matplotlib draws it. 32 hex digits."""
    content = msgspec.json.encode(picture, order="deterministic")
    return hashlib.blake2b(content, digest_size=16).hexdigest()

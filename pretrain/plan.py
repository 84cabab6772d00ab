"""What a pretraining is about to do, in a line."""

from math import ceil


def plan_of(name: str, images: int, side: int, batch: int, epochs: int) -> str:
    """`images` at `side` pixels in batches of `batch`; and what to do where those are too large."""
    steps = ceil(images / batch)
    found = (
        f"{name}: {images:,} images at {side} pixels, {steps:,} step{'s' * (steps > 1)} an epoch "
        f"in batches of {batch}, {epochs} epoch{'s' * (epochs > 1)}"
    )
    if images < batch:
        found += "; a --batch-size below the number of images makes more steps"
    return found

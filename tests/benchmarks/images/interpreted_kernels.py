"""Prints, as JSON, whether the kernels of colours give the values of the steps that PIL takes.

Run with TRITON_INTERPRET=1 in a process of its own: Triton looks at it when it is imported.
"""

import json
from itertools import permutations

import torch

from benchmarks.images import colour_kernels
from benchmarks.images.colour import HUE, Colour, Draws, Normalise

JITTERED, HUED = (0.4, 0.4, 0.4, 0.0), (0.4, 0.4, 1.0, 0.5)
COLOURS = {
    "plain": Colour(),
    "multi-head": Colour(jitter=JITTERED, lighting=0.1),
    "hue and grey": Colour(jitter=HUED, greyscale=0.2),
}
NORMALISED = [
    Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    Normalise((0.0,) * 3, (1.0,) * 3),
]


def drawn(colour: Colour, count: int) -> Draws:
    """What the colour draws, with orders far apart and every third image grey."""
    draws = Draws.none(count)
    torch.manual_seed(3)
    for row in range(count):
        colour.draw(draws, row)
    orders = list(permutations(range(4)))[:: 24 // count][:count]
    draws.order[:] = torch.tensor(orders, dtype=torch.uint8)
    draws.grey[:] = torch.arange(count) % 3 == 0
    return draws


def same(colour: Colour, pixels: torch.Tensor, draws: Draws) -> bool:
    """Whether every bit is, for each normalisation."""
    found = colour._by_kernels(pixels, draws, NORMALISED)
    steps = colour.apply(pixels, draws, NORMALISED)
    return all(torch.equal(ours, theirs) for ours, theirs in zip(found, steps, strict=True))


def main() -> None:
    pixels = torch.randint(0, 256, (8, 7, 31, 3), dtype=torch.uint8)
    pixels[1], pixels[2, ..., 1] = 255, pixels[2, ..., 0]
    pixels[3] = pixels[3, ..., :1]  # greys, which have no hue
    found = {name: same(colour, pixels, drawn(colour, 8)) for name, colour in COLOURS.items()}
    # More pixels than one program takes: the mean of contrast is the whole image's.
    colour_kernels.PIXELS = 64
    colour = COLOURS["multi-head"]
    draws = drawn(colour, 2)
    draws.order[:] = torch.tensor([[0, 1, 2, HUE], [1, 2, HUE, 0]])
    found["many programs"] = same(
        colour, torch.randint(0, 256, (2, 13, 11, 3), dtype=torch.uint8), draws
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Numbers of a recipe that no training can be done with, whatever the method."""

from collections.abc import Callable
from typing import Any

from benchmarks.checkpoints.cards import check_pixels
from pretrain.recipe_flags import flag_of, numbers_of
from slurm.errors import UserError

LEAST_IMAGES = 2  # of a step in each process: BatchNorm's statistics of one image tell nothing
MOST_IMAGES = 100_000
MOST_ROUNDS = 100_000
MOST_EPOCHS = 1_000_000
MOST_PIXELS = 10_000
# Weights and optimizer are of 32 bits, where smaller numbers become 0 and larger ones infinite.
SMALLEST, LARGEST = 1.2e-38, 3.4e38

# Field -> what it is to be, and whether a number is so. Of tuples each member, of parts each field.
Bound = tuple[str, Callable[[float], bool]]
_EPOCHS: Bound = (f"at most {MOST_EPOCHS}", lambda number: number <= MOST_EPOCHS)
_PIXELS: Bound = (f"at most {MOST_PIXELS}", lambda number: number <= MOST_PIXELS)
BOUNDS: dict[str, Bound] = {
    "batch_size": (
        f"{LEAST_IMAGES} images or more, which BatchNorm's statistics need, and at most "
        f"{MOST_IMAGES}",
        lambda number: LEAST_IMAGES <= number <= MOST_IMAGES,
    ),
    "kmeans_iterations": (f"at most {MOST_ROUNDS}", lambda number: number <= MOST_ROUNDS),
    "epochs": _EPOCHS,
    "interval": _EPOCHS,
    "milestones": _EPOCHS,
    "warmup_epochs": _EPOCHS,
    "learning_rate": (
        f"above 0 and, in 32 bits, finite: {SMALLEST} to {LARGEST}",
        lambda number: SMALLEST <= number <= LARGEST,
    ),
    "weight_decay": (
        f"finite in 32 bits: 0 to {LARGEST}",
        lambda number: 0 <= number <= LARGEST,
    ),
    "momentum": ("from 0 to below 1", lambda number: 0 <= number < 1),
    "gamma": ("above 0 and at most 1", lambda number: 0 < number <= 1),
    "warmup_ratio": ("from 0 to 1", lambda number: 0 <= number <= 1),
    "crop": _PIXELS,
    "resize": _PIXELS,
    "random_crop": _PIXELS,
    "rotation": ("0 to 180 degrees", lambda number: 0 <= number <= 180),
}


def check_numbers(recipe: Any) -> None:
    """`UserError`, which names flag and bound, for a number that is out of its bounds."""
    for name, value in (("epochs", recipe.epochs), *numbers_of(recipe)):
        field = name.rpartition(".")[2]
        if field not in BOUNDS:
            continue
        says, fits = BOUNDS[field]
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not fits(number):
                raise UserError(f"{flag_of(name)} {number}: it is to be {says}")
    check_pixels(recipe.mean, (), flag_of("mean"))
    check_pixels((), recipe.std, flag_of("std"))


def check_share(batch: int, processes: int, name: str) -> None:
    """`UserError` unless so many processes can share the batches of the recipe `name` equally."""
    if batch % processes:
        raise UserError(
            f"{processes} processes cannot share the batches of {batch} images of {name} equally; "
            "use a divisor of it"
        )
    if batch // processes < LEAST_IMAGES:
        raise UserError(
            f"{processes} processes with one image each of the batches of {batch} of {name}: "
            f"BatchNorm's statistics need {LEAST_IMAGES} images or more in each; use a larger "
            "--batch-size or fewer processes"
        )

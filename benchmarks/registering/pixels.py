"""The user's word on how pixels are normalised: `--mean` and `--std`."""

import argparse

import msgspec

from benchmarks.checkpoints.cards import ASSUMED_PIXELS, GIVEN_PIXELS, Card, check_pixels
from benchmarks.checkpoints.wording import shown
from slurm.errors import UserError

Triple = tuple[float, float, float]
_MOST_255 = 255.0


def add_pixel_flags(parser: argparse.ArgumentParser) -> None:
    """Add the two flags; they go together, since only both tell their scale."""
    for name, what in (("mean", "mean"), ("std", "standard deviation")):
        parser.add_argument(
            f"--{name}",
            type=_three,
            metavar="R,G,B",
            help=f"{what} of the pixels that the trunk expects, of red, green and blue: in 0..1, "
            "or in 0..255 where one of --mean and --std is above 1; the card says it was given",
        )


def given_pixels(args: argparse.Namespace) -> tuple[Triple, Triple] | None:
    """Mean and std in 0..1, None without the flags; `UserError` for what no pixels have."""
    mean, std = args.mean, args.std
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise UserError("--mean and --std go together: both tell whether pixels are 0..1 or 0..255")
    if max(*mean, *std) > 1:
        if max(mean) > _MOST_255 or any(0 < value <= 1 for value in mean):
            raise UserError(
                f"--mean {_text(mean)} and --std {_text(std)} are not of one scale: give both of "
                "pixels in 0..1 or both of pixels in 0..255"
            )
        mean, std = _scaled(mean), _scaled(std)
    check_pixels(mean, std, "--mean and --std")
    return mean, std


def with_pixels(card: Card, mean: Triple, std: Triple) -> Card:
    """The card with the user's mean and std, and a note of whose word they are."""
    notes = card.notes
    if not card.pixels_given:
        note = GIVEN_PIXELS
        if ASSUMED_PIXELS not in notes and (mean, std) != (card.mean, card.std):
            said = f"mean {_text(card.mean)} and std {_text(card.std)}"
            note += f", not {said} as its file or project says"
        notes = (*(one for one in notes if one != ASSUMED_PIXELS), note)
    return msgspec.structs.replace(card, mean=mean, std=std, notes=notes, pixels_given=True)


def _three(text: str) -> Triple:
    """An argparse type: three numbers from 0."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(0 <= value < 1e6 for value in values):
        raise argparse.ArgumentTypeError(
            f"{shown(text, 60)!r} is not three numbers from 0, as in 0.485,0.456,0.406"
        )
    return values[0], values[1], values[2]


def _scaled(values: Triple) -> Triple:
    red, green, blue = (round(value / _MOST_255, 10) for value in values)
    return red, green, blue


def _text(values: Triple) -> str:
    return ",".join(f"{value:g}" for value in values)

"""Whether a result is of the checkpoint that its name stands for now."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks import results
from benchmarks.checkpoints.cards import Card
from benchmarks.results import SCHEMA, Checkpoint
from slurm.errors import UserError
from slurm.files import read_regular, write_bytes


class _Head(msgspec.Struct):
    """What is read of a record here, of whichever benchmark it is."""

    checkpoint: Checkpoint
    schema: int


def why_outdated(checkpoint: Checkpoint, card: Card) -> str | None:
    """Why a result of `checkpoint` is none of the checkpoint that `card` describes, or None.

    Records of earlier versions do not say the mean and std that they were measured with; what
    changes those of a card writes them into such records before (`state_pixels`).
    """
    now = checkpoint_of(card)
    differs = what_differs(checkpoint, now)
    if differs == "weights":
        return f"is of earlier weights of {card.name}"
    if differs == "architectures":
        was, is_now = (f"{c.arch}{' with Sobel stem' * c.sobel}" for c in (checkpoint, now))
        return f"was measured on {was}, and {card.name} is {is_now} now"
    if differs:
        return f"was measured with {_pixels(checkpoint)}; {card.name} has {_pixels(now)} now"
    return None


def what_differs(one: Checkpoint, other: Checkpoint) -> str | None:
    """In what two results are not of one network that was fed alike, as far as they say."""
    if one.weights != other.weights:
        return "weights"
    if (one.arch, one.sobel) != (other.arch, other.sobel):
        return "architectures"
    unsaid = None in (one.mean, one.std, other.mean, other.std)
    if not unsaid and (one.mean, one.std) != (other.mean, other.std):
        return "means and stds of pixels"
    return None


def checkpoint_of(card: Card) -> Checkpoint:
    """What a record says of the checkpoint that it was measured on."""
    return Checkpoint(
        card.name, card.arch, card.weights, card.sobel, card.config, card.mean, card.std
    )


def record_paths(zoo: Path, name: str) -> Iterator[Path]:
    """The files in the place of records of a name; parts of records lie deeper."""
    yield from sorted(path for path in (zoo / "results" / name).glob("*/*.json") if path.is_file())


def state_pixels(zoo: Path, card: Card) -> None:
    """Write mean and std of `card` into the records of it that do not say theirs.

    Before another card takes the place of this one: afterwards nobody could tell.
    """
    for path in record_paths(zoo, card.name):
        try:
            head = results.read(path, _Head)
        except UserError:
            continue
        stated = head.schema != SCHEMA or head.checkpoint.mean is not None
        if not stated and why_outdated(head.checkpoint, card) is None:
            content = msgspec.json.decode(read_regular(path))
            content["checkpoint"] |= {"mean": card.mean, "std": card.std}
            write_bytes(path, results.encode_plain(content))


def _pixels(checkpoint: Checkpoint) -> str:
    mean, std = (
        ", ".join(f"{value:g}" for value in values or ())
        for values in (checkpoint.mean, checkpoint.std)
    )
    return f"mean {mean} and std {std}"

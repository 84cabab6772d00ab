"""The card of a registered checkpoint: how to rebuild its trunk and where it came from."""

import math
from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks import results
from slurm.errors import UserError
from slurm.files import check_name

SCHEMA = 1
MOST_HEADER = 100_000_000  # bytes; the format's own limit
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in 0..1; what checkpoints are assumed to expect
IMAGENET_STD = (0.229, 0.224, 0.225)
ASSUMED_PIXELS = (
    "the file does not say how its pixels are normalised: RGB, ImageNet's mean and std were assumed"
)
GIVEN_PIXELS = "mean and std of its pixels were given by hand"  # begins that note
STD_RANGE = (0.001, 10.0)  # of pixels in 0..1; 1 / 255 is that of networks fed with 0..255


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`zoo/checkpoints/NAME/card.json`; the weights lie beside it as safetensors."""

    name: str
    arch: str  # one of benchmarks.backbones.architectures
    sobel: bool  # a fixed Sobel stem feeds a 2-channel first convolution
    weights: str  # fingerprint of the tensors (blake2b)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    method: str | None = None  # e.g. deepcluster
    config: str | None = None  # recipe file or URL, the link of the table's first column
    source: str | None = None  # the file that was registered
    format: str | None = None  # the layout it was found in
    notes: tuple[str, ...] = ()  # what a reader of the figures must know
    remarks: tuple[str, ...] = ()  # what the user adds to the notes
    pixels_given: bool = False  # mean and std are the user's word, not the file's
    pretraining: dict[str, object] = {}  # what a method wants to say: recipe, epochs, history
    schema: int = SCHEMA

    @property
    def all_notes(self) -> tuple[str, ...]:
        """What the file and what the user says to a reader of the figures."""
        return (*self.notes, *self.remarks)

    @property
    def measured(self) -> tuple[object, ...]:
        """What the figures of a checkpoint depend on."""
        return self.arch, self.sobel, self.weights, self.mean, self.std

    @property
    def label(self) -> str:
        """The architecture, in words."""
        return self.arch + ", Sobel stem" * self.sobel


def card_path(zoo: Path, name: str) -> Path:
    """Where the card of `name` lies."""
    return zoo.joinpath("checkpoints", check_name(name, "checkpoint name"), "card.json")


def weights_path(zoo: Path, name: str) -> Path:
    """Where the weights of `name` lie."""
    return card_path(zoo, name).with_name("weights.safetensors")


def content_path(folder: Path, weights: str) -> Path:
    """Where the weights of a checkpoint lie while they take the place of others."""
    return folder / f"weights-{weights[:16]}.safetensors"


def weights_of(zoo: Path, card: Card) -> Path:
    """Where the weights of this very card lie."""
    plain = weights_path(zoo, card.name)
    content = content_path(plain.parent, card.weights)
    return content if content.exists() else plain


def read_card(zoo: Path, name: str) -> Card:
    """The card of a registered checkpoint; `UserError` when it is missing or malformed."""
    path = card_path(zoo, name)
    if not path.exists():
        raise UserError(f"no checkpoint {name!r} is registered in {zoo}")
    card = read_card_file(path)
    if card.name != name:
        raise UserError(
            f"{path} is the card of {card.name!r}: register its weights under the name {name!r} "
            "instead of renaming the folder"
        )
    return card


def is_safetensors(path: Path) -> bool:
    """Whether a safetensors file is there and as long as its header says; reads only that."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, MOST_HEADER))
        tensors = msgspec.json.decode(header, type=dict[str, dict[str, object]])
        offsets = [entry["data_offsets"] for name, entry in tensors.items() if name[:2] != "__"]
        ends = msgspec.convert(offsets, list[tuple[int, int]])
        return path.stat().st_size == 8 + len(header) + max((end for _, end in ends), default=0)
    except (OSError, KeyError, msgspec.MsgspecError, UnicodeDecodeError):
        return False


def read_card_file(path: Path) -> Card:
    """The card in a file, validated; `UserError` names the file and what is wrong."""
    try:
        card = results.read(path, Card)
    except RecursionError as error:
        raise UserError(f"{path} is not a valid Card: it nests too deeply") from error
    if card.schema != SCHEMA:
        raise UserError(
            f"{path} has schema {card.schema}, this version reads {SCHEMA}: register it again"
        )
    check_pixels(card.mean, card.std, str(path))
    return card


def check_pixels(mean: tuple[float, ...], std: tuple[float, ...], where: str) -> None:
    """Raise `UserError`, which starts with `where`, unless these can be of pixels in 0..1."""
    low, high = STD_RANGE
    for value in std:
        if not (math.isfinite(value) and low <= value <= high):
            raise UserError(
                f"{where}: std {value} is none of pixels in 0..1 ({low} to {high}): divide "
                "figures of pixels in 0..255 by 255"
            )
    for value in mean:
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise UserError(
                f"{where}: mean {value} is none of pixels in 0..1: divide figures of pixels in "
                "0..255 by 255"
            )


def list_cards(zoo: Path) -> list[Card]:
    """All cards of a zoo that can be read, by name."""
    return read_cards(zoo, registered_names(zoo))[0]


def read_cards(zoo: Path, names: Iterable[str]) -> tuple[list[Card], dict[str, str]]:
    """The cards that can be read, and what is wrong with each other one, by its folder's name."""
    cards: list[Card] = []
    reasons: dict[str, str] = {}
    for name in names:
        try:
            cards.append(read_card(zoo, name))
        except UserError as error:
            reasons[name] = str(error)
    return cards, reasons


def is_registered(zoo: Path, name: str) -> bool:
    """Whether `name` could be a checkpoint's and is one of the zoo's."""
    try:
        return card_path(zoo, name).exists()
    except UserError:
        return False


def registered_names(zoo: Path) -> list[str]:
    """Names of the registered checkpoints, sorted."""
    return sorted(path.parent.name for path in zoo.glob("checkpoints/[!.]*/card.json"))

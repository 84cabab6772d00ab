"""`--mean` and `--std`: what is taken, what is refused, and whose word the card says it is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.checkpoints.cards import ASSUMED_PIXELS, GIVEN_PIXELS, read_card
from benchmarks.trunks import load_trunk
from tests.benchmarks.registering.conftest import ARCH, Answer
from tests.benchmarks.voc_data import make_trunk

Command = Callable[..., Answer]
IMAGENET = ("0.485,0.456,0.406", "0.229,0.224,0.225")


def add(file: Path, *more: str) -> tuple[str, ...]:
    return ("add", str(file), "--name", "net", "--arch", ARCH, *more)


@pytest.mark.parametrize(
    ("given", "mean", "std"),
    [
        (("0.5,0.4,0.3", "0.2,0.2,0.25"), (0.5, 0.4, 0.3), (0.2, 0.2, 0.25)),
        (("123.675,116.28,103.53", "58.395,57.12,57.375"), None, None),  # ImageNet's, of 0..255
        (("127.5,127.5,127.5", "127.5,127.5,127.5"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        (("0,0,0", "1,1,1"), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        (("0,0,0", "255,255,255"), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        (("127.5,127.5,127.5", "1,1,1"), (0.5, 0.5, 0.5), (0.0039215686,) * 3),
    ],
)
def test_pixels_of_either_scale_are_in_the_card_as_0_to_1(
    tmp_path: Path, file: Path, command: Command, given: tuple[str, str], mean: object, std: object
) -> None:
    code, _, error = command(*add(file, "--mean", given[0], "--std", given[1]), zoo=tmp_path)
    assert code == 0, error
    card = read_card(tmp_path, "net")
    assert card.mean == (mean or (0.485, 0.456, 0.406))
    assert card.std == (std or (0.229, 0.224, 0.225))
    assert card.pixels_given
    assert any(note.startswith(GIVEN_PIXELS) for note in card.notes)
    assert ASSUMED_PIXELS not in card.notes
    # What is measured is fed so, and its record says so.
    found = make_trunk(tmp_path, "net")
    assert (found.mean, found.std) == (card.mean, card.std)
    assert (found.checkpoint.mean, found.checkpoint.std) == (card.mean, card.std)
    load_trunk(found)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--mean", "0.5,0.5,0.5"), "--mean and --std go together"),
        (("--std", "0.5,0.5,0.5"), "--mean and --std go together"),
        (("--mean", "0.5,0.5", "--std", "0.5,0.5,0.5"), "is not three numbers from 0"),
        (("--mean", "a,b,c", "--std", "0.5,0.5,0.5"), "is not three numbers from 0"),
        (("--mean", "nan,0,0", "--std", "0.5,0.5,0.5"), "is not three numbers from 0"),
        (("--mean", "-1,0,0", "--std", "0.5,0.5,0.5"), "expected one argument"),
        (("--mean", "0.5,0.5,0.5", "--std", "0.5,0,0.5"), "std 0.0 is none of pixels in 0..1"),
        # Of two scales: divided or not, one of them would be wrong.
        (("--mean", IMAGENET[0], "--std", "58.395,57.12,57.375"), "are not of one scale"),
        (("--mean", "123.675,116.28,103.53", "--std", IMAGENET[1]), "std 0.00089"),
        (("--mean", "300,116.28,103.53", "--std", "58,57,57"), "are not of one scale"),
    ],
)
def test_what_no_pixels_have_is_refused(
    tmp_path: Path, file: Path, command: Command, given: tuple[str, ...], says: str
) -> None:
    code, _, error = command(*add(file, *given), zoo=tmp_path / "zoo")
    assert code == 2
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "zoo").exists()


def test_what_the_file_says_is_noted_where_it_is_another(
    tmp_path: Path, file: Path, command: Command
) -> None:
    """SwAV's files have a standard deviation of their own."""
    content = torch.load(file, weights_only=True)["state_dict"]
    swav = {f"module.{name}": tensor for name, tensor in content.items()}
    torch.save(swav | {"module.prototypes.weight": torch.ones(3, 8)}, file)
    command(*add(file, "--mean", IMAGENET[0], "--std", IMAGENET[1]), zoo=tmp_path)
    (note,) = [n for n in read_card(tmp_path, "net").notes if n.startswith(GIVEN_PIXELS)]
    assert "not mean 0.485,0.456,0.406 and std 0.228,0.224,0.225 as its file" in note

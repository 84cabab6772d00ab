"""Results and the checkpoint that their name stands for now."""

from pathlib import Path

import msgspec
import pytest

from benchmarks import results
from benchmarks.backbones.backbone import Backbone, build_backbone
from benchmarks.checkpoints.cards import read_card
from benchmarks.checkpoints.fit import checkpoint_of, why_outdated
from benchmarks.registering.records import records_of
from benchmarks.registry import register
from reports.collect import collect
from tests.reports.conftest import Zoo

SOBEL = {"arch": "resnet18", "sobel": True}
OTHER = (0.228, 0.224, 0.225)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return build_backbone("resnet18", sobel=True, seed=3)


def test_a_record_says_what_its_card_says(tmp_path: Path, backbone: Backbone) -> None:
    card = register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    assert why_outdated(checkpoint_of(card), card) is None


def test_records_that_do_not_say_their_pixels_say_them_before_the_card_changes(
    tmp_path: Path, backbone: Backbone
) -> None:
    """A record of an earlier version, of the same weights, is not left looking current."""
    card = register(tmp_path, "a", backbone.state_dict(), **SOBEL)
    unsaid = msgspec.structs.replace(checkpoint_of(card), mean=None, std=None)
    path = Zoo(tmp_path).probe("a", {"feature1": 10.0}, checkpoint=unsaid)
    before = path.read_bytes()
    register(tmp_path, "a", backbone.state_dict(), **SOBEL, method="new")  # the same features
    assert path.read_bytes() == before
    register(tmp_path, "a", backbone.state_dict(), **SOBEL, std=OTHER, force=True)
    (found,) = records_of(tmp_path, "a")[0]
    assert (found.record.checkpoint.mean, found.record.checkpoint.std) == (card.mean, card.std)
    assert found.record == msgspec.structs.replace(
        msgspec.json.decode(before, type=results.ProbeRecord), checkpoint=checkpoint_of(card)
    )
    assert not collect(tmp_path).found
    # The first figures are current again when the first card is.
    register(tmp_path, "a", backbone.state_dict(), **SOBEL, force=True)
    assert read_card(tmp_path, "a").std == card.std
    assert len(collect(tmp_path).found) == 1

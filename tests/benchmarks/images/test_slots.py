"""Batches in memory that is used again: never one that is still to be read."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from benchmarks.checkpoints.cards import IMAGENET_MEAN as MEAN
from benchmarks.checkpoints.cards import IMAGENET_STD as STD
from benchmarks.images.batches import Decoded, Loader, Source, _Shared
from benchmarks.images.names import Names
from benchmarks.images.requests import requests_of
from benchmarks.images.slots import PREFETCH, SLOTS, Slots
from benchmarks.images.transforms import build_transform
from tests.benchmarks.images.pictures import AUGMENTED, photo

COUNT = 61
TRANSFORM = build_transform(AUGMENTED, MEAN, STD)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder: Path = tmp_path_factory.mktemp("images")
    names = [f"{number}.jpg" for number in range(COUNT)]
    for number, name in enumerate(names):
        photo(40, 40, seed=number).save(folder / name)
    return Source(str(folder), Names(names), TRANSFORM.geometry, (TRANSFORM.colour,), 3)


def test_a_place_is_kept_until_all_others_had_their_turn() -> None:
    slots = Slots()
    places = [slots.next_place(100) for _ in range(SLOTS)]
    for number, place in enumerate(places):
        place.pixels.fill_(number)
    assert SLOTS == PREFETCH + 2
    assert len({place.pixels.data_ptr() for place in places}) == SLOTS
    assert all(place.is_kept() for place in places)
    assert [int(place.pixels.float().mean()) for place in places] == list(range(SLOTS))
    again = slots.next_place(93)
    assert again.pixels.data_ptr() == places[0].pixels.data_ptr()
    assert len(again.pixels) == 93
    assert [place.is_kept() for place in places] == [False] + [True] * (SLOTS - 1)


def test_a_larger_batch_is_given_more_room() -> None:
    slots = Slots()
    for size in (0, 1, 8, 5000, 4, 6000):
        place = slots.next_place(size)
        place.pixels.fill_(255)
        assert len(place.pixels) == size
        assert place.is_kept()
        assert place.pixels.is_shared()


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("pause", [0.0, 0.01])
def test_batches_are_the_readers_own(source: Source, workers: int, pause: float) -> None:
    loader = Loader([source], workers, torch.device("cpu"))
    for epoch in range(2):  # the second finds the same memory
        requests = requests_of(0, epoch, np.arange(COUNT), 2 + epoch)
        kept = []
        for found in loader.batches(requests):
            time.sleep(pause)  # the workers go on as far as they may
            kept.append(found.pixels)
        assert len(kept) == len(requests)
        for request, pixels in zip(requests, kept):
            assert torch.equal(pixels, source.load(request).pixels)
        assert not any(torch.equal(one, other) for one, other in pairwise(kept))


def test_a_list_that_was_left_early_spoils_no_later_one(source: Source) -> None:
    loader = Loader([source], 2, torch.device("cpu"))
    requests = requests_of(0, 0, np.arange(COUNT), 3)
    for stop in (1, 4, 9):
        for number, found in enumerate(loader.batches(requests)):
            assert torch.equal(found.pixels, source.load(requests[number]).pixels)
            if number == stop:
                break
    kept = [found.pixels for found in loader.batches(requests)]
    expected = [source.load(request).pixels for request in requests]
    assert all(torch.equal(one, other) for one, other in zip(kept, expected))


@pytest.mark.parametrize("copied", [True, False])
def test_a_batch_that_was_written_over_is_an_error(copied: bool) -> None:
    slots = Slots()
    place = slots.next_place(12)
    shared = _Shared(Decoded(place.pixels.view(1, 2, 2, 3), ()), place)
    mine = shared.own(copied=copied).pixels
    assert (mine.data_ptr() == place.pixels.data_ptr()) is copied
    for _ in range(SLOTS):
        slots.next_place(12)
    with pytest.raises(RuntimeError, match="wrote over a batch"):
        shared.own(copied=copied)


def test_a_pinned_copy_is_taken_as_it_is(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the loader's thread makes one beside a GPU, which alone pins memory."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *device: tensor.clone())
    slots = Slots()
    request = requests_of(0, 0, np.arange(5), 5)[0]
    place = slots.next_place(5 * AUGMENTED.crop**2 * 3)
    shared = _Shared(source.load(request, place.pixels.view(source.shape(request))), place)
    pinned = pin_memory(shared)
    for _ in range(SLOTS):
        slots.next_place(len(place.pixels)).pixels.fill_(0)
    found, expected = pinned.own(copied=True), source.load(request)
    assert torch.equal(found.pixels, expected.pixels)
    assert len(found.draws) == len(expected.draws) == 1
    assert all(torch.equal(one, other) for one, other in zip(found.draws[0], expected.draws[0]))

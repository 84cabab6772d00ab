"""Reproducible loading, by any number of workers."""

import gc
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from benchmarks.checkpoints.cards import IMAGENET_MEAN as MEAN
from benchmarks.checkpoints.cards import IMAGENET_STD as STD
from benchmarks.datasets.splits import ImageSplit
from benchmarks.images import batches
from benchmarks.images.batches import Loader, Source, load_batches
from benchmarks.images.colour import Colour
from benchmarks.images.decoding import open_image
from benchmarks.images.names import Names
from benchmarks.images.requests import requests_of
from benchmarks.images.transforms import build_transform
from benchmarks.protocols import ImageTransform
from slurm.errors import UserError
from tests.benchmarks.images.pictures import AUGMENTED, photo


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> ImageSplit:
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for number in range(23):
        paths.append(f"{number}.{'jpg' if number % 2 else 'png'}")
        photo(30 + number, 40, seed=number).save(folder / paths[-1])
    return ImageSplit(folder, tuple(paths), np.arange(23), tuple("abc"))


TRANSFORM = build_transform(AUGMENTED, MEAN, STD)
ORDER = np.random.default_rng(5).permutation(23)


def _load(
    split: ImageSplit,
    indices: np.ndarray = ORDER,
    *,
    size: int = 4,
    seed: int = 1,
    epoch: int = 2,
    workers: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    loaded = list(
        load_batches(
            split, TRANSFORM, indices, batch_size=size, seed=seed, epoch=epoch, workers=workers
        )
    )
    return torch.cat([batch for batch, _ in loaded]), torch.cat([rows for _, rows in loaded])


def test_batches_come_in_order_with_their_indices(split: ImageSplit) -> None:
    transform = build_transform(ImageTransform(crop=24, resize=24), MEAN, STD)
    loaded = list(load_batches(split, transform, ORDER, batch_size=5, seed=0, epoch=0))
    assert [len(rows) for _, rows in loaded] == [5, 5, 5, 5, 3]
    assert torch.cat([rows for _, rows in loaded]).tolist() == ORDER.tolist()
    for pictures, rows in loaded:
        assert rows.dtype == torch.int64
        assert pictures.dtype == torch.float32
        for picture, row in zip(pictures, rows.tolist()):
            expected = transform(open_image(split.root / split.paths[row]))
            assert torch.equal(picture, expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(split: ImageSplit, workers: int) -> None:
    alone, rows = _load(split)
    helped, helped_rows = _load(split, workers=workers)
    assert torch.equal(alone, helped)
    assert torch.equal(rows, helped_rows)


def test_neither_order_nor_batch_size_nor_a_resumption_changes_an_image(split: ImageSplit) -> None:
    pictures, _ = _load(split)
    by_row = dict(zip(ORDER.tolist(), pictures))
    resumed, rows = _load(split, ORDER[8:], size=4)
    assert torch.equal(resumed, pictures[8:])
    for indices, size in ((np.sort(ORDER), 7), (ORDER[::-1][:9], 1), (ORDER[[3, 3, 3]], 2)):
        found, rows = _load(split, indices, size=size)
        assert all(torch.equal(a, by_row[b]) for a, b in zip(found, rows.tolist()))


def test_seed_epoch_and_image_each_change_the_draws(split: ImageSplit) -> None:
    base, _ = _load(split)
    for other in ({"seed": 9}, {"epoch": 3}, {"seed": 2, "epoch": 1}):
        found, _ = _load(split, **other)
        assert not any(torch.equal(a, b) for a, b in zip(found, base))
    same = ImageSplit(split.root, (split.paths[0],) * 23, split.labels, split.classes)
    copies, _ = _load(same)
    assert len({copy.numpy().tobytes() for copy in copies}) == 23


@pytest.mark.parametrize("workers", [0, 2])
def test_the_callers_generators_are_left_alone(split: ImageSplit, workers: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(77)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
        loaded = load_batches(
            split, TRANSFORM, ORDER, batch_size=4, seed=1, epoch=2, workers=workers
        )
        for _ in loaded:
            assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert np.array_equal(np.random.get_state()[1], before[2])


def test_the_callers_draws_do_not_change_the_images(split: ImageSplit) -> None:
    base, _ = _load(split)
    with torch.random.fork_rng(devices=[]):
        loaded = load_batches(split, TRANSFORM, ORDER, batch_size=4, seed=1, epoch=2)
        found = []
        for pictures, _ in loaded:
            torch.rand(5)
            found.append(pictures)
    assert torch.equal(torch.cat(found), base)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_stops_the_loading_by_name(
    split: ImageSplit, tmp_path: Path, workers: int
) -> None:
    whole = (split.root / split.paths[1]).read_bytes()
    (tmp_path / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    paths = [os.path.relpath(split.root / path, tmp_path) for path in split.paths]
    paths[ORDER[9]] = "broken.jpg"
    damaged = ImageSplit(tmp_path, tuple(paths), split.labels, split.classes)
    loaded = load_batches(damaged, TRANSFORM, ORDER, batch_size=4, seed=1, epoch=2, workers=workers)
    for _ in range(2):
        next(loaded)
    with pytest.raises(UserError, match=r"broken\.jpg is damaged or not an image") as caught:
        next(loaded)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_indices_give_no_batches(split: ImageSplit) -> None:
    none = np.array([], dtype=np.int64)
    loaded = load_batches(split, TRANSFORM, none, batch_size=4, seed=0, epoch=0, workers=2)
    assert list(loaded) == []


class _Unsendable:
    def __reduce__(self) -> str:
        raise AssertionError("labels were sent")


def test_labels_never_enter_the_workers(split: ImageSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    class Spy(DataLoader):  # type: ignore[type-arg]
        def __init__(self, dataset: object, **options: object) -> None:
            sent.append(pickle.dumps(dataset))
            super().__init__(dataset, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(batches, "DataLoader", Spy)
    secret = ImageSplit(split.root, split.paths, _Unsendable(), split.classes)  # type: ignore[arg-type]
    assert torch.equal(_load(secret, workers=2)[0], _load(split)[0])
    assert len(sent) == 1


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9)))
def test_names_are_kept_as_they_are(names: list[str]) -> None:
    kept = Names(names)
    assert [kept[row] for row in range(len(names))] == names


def test_names_that_are_not_utf8_are_kept() -> None:
    odd = os.fsdecode(b"caf\xe9.jpg")
    assert Names(["a", odd])[1] == odd


def test_workers_are_sent_no_list_of_texts(split: ImageSplit) -> None:
    """Each look at a text writes its reference count, and so copies its page, in each worker."""
    many = ImageSplit(split.root, split.paths * 500, split.labels, split.classes)
    source = Source.of(many, TRANSFORM.geometry, [TRANSFORM.colour], 0)
    assert isinstance(source.names.content, torch.Tensor)
    assert len(source.names.bounds) == 500 * 23 + 1
    assert not [
        held
        for held in gc.get_referents(source, source.names)
        if isinstance(held, tuple) and len(held) > 9
    ]


def test_workers_live_through_epochs_and_a_list_that_was_left(split: ImageSplit) -> None:
    source = Source.of(split, TRANSFORM.geometry, [TRANSFORM.colour], 1)
    helped, alone = (
        Loader([source], 2, torch.device("cpu")),
        Loader([source], 0, torch.device("cpu")),
    )
    others = {child.pid for child in multiprocessing.active_children()}  # of other tests
    processes = set()
    for epoch in range(3):
        requests = requests_of(0, epoch, ORDER, 4)
        if epoch == 1:
            next(iter(helped.batches(requests)))  # and no more of them
            continue
        for found, expected in zip(helped.batches(requests), alone.batches(requests), strict=True):
            assert torch.equal(found.pixels, expected.pixels)
            for ours, theirs in zip(found.draws[0], expected.draws[0]):
                assert torch.equal(ours, theirs)
        processes |= {child.pid for child in multiprocessing.active_children()}
    assert len(processes - others) == 2


@pytest.mark.parametrize("error", [RuntimeError, ConnectionResetError, EOFError])
def test_workers_that_were_told_to_stop_leave_the_rest_to_the_process(
    split: ImageSplit, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Nothing of them is an error while this process saves what it has; else it is one."""
    source = Source.of(split, TRANSFORM.geometry, [TRANSFORM.colour], 1)
    requests = requests_of(0, 0, ORDER, 4)
    expected = list(Loader([source], 0, torch.device("cpu")).batches(requests))

    class Dying:
        def __init__(self, sources: Any, sampler: Any, **options: object) -> None:
            self.sources, self.sampler = sources, sampler

        def __iter__(self) -> Iterator[Any]:
            for request in list(self.sampler)[:2]:
                yield self.sources[request]
            raise error("a worker is gone")

    monkeypatch.setattr(batches, "DataLoader", Dying)
    with pytest.raises(error, match="a worker is gone"):
        list(Loader([source], 2, torch.device("cpu")).batches(requests))
    monkeypatch.setattr(batches, "stop_requested", lambda: True)
    found = list(Loader([source], 2, torch.device("cpu")).batches(requests))
    assert len(found) == len(expected) > 2
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(found, expected))


def test_colours_are_drawn_as_if_each_were_the_only_one(split: ImageSplit) -> None:
    one, two = Colour(lighting=0.1), Colour(jitter=(0.4, 0.4, 0.4, 0.1), greyscale=0.2)
    request = requests_of(0, 3, ORDER, 23)[0]
    both = Source.of(split, TRANSFORM.geometry, [one, two], 1).load(request)
    for number, colour in enumerate((one, two)):
        alone = Source.of(split, TRANSFORM.geometry, [colour], 1).load(request)
        assert torch.equal(both.pixels, alone.pixels)
        for ours, theirs in zip(both.draws[number], alone.draws[0]):
            assert torch.equal(ours, theirs)


def test_an_abandoned_loading_leaves_no_process_behind(split: ImageSplit) -> None:
    program = f"""
import numpy as np
from pathlib import Path
from benchmarks.catalog.imagenet_linear import DIGITS_IMAGENET_LINEAR
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.datasets.splits import ImageSplit
split = ImageSplit(Path({str(split.root)!r}), {split.paths!r}, np.arange(23), ("a",))
transform = build_transform(DIGITS_IMAGENET_LINEAR.train, (0, 0, 0), (1, 1, 1))
options = dict(batch_size=2, seed=0, epoch=0, workers=2)
loaded = load_batches(split, transform, np.arange(23), **options)
print(next(loaded)[1].tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1]\n", "")

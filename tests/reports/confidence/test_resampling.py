from itertools import islice

import numpy as np
import pytest

from reports.confidence.resampling import BLOCK, resample_counts

HASH = "ab" * 32


def test_every_sample_draws_as_many_images_as_there_are() -> None:
    blocks = list(resample_counts(37, HASH, resamples=2 * BLOCK + 7))
    assert [block.shape for block in blocks] == [(37, BLOCK), (37, BLOCK), (37, 7)]
    assert all((block.sum(0) == 37).all() for block in blocks)


def test_the_draws_are_a_function_of_the_list_alone() -> None:
    first = next(resample_counts(50, HASH, resamples=10))
    again = next(islice(resample_counts(50, HASH, resamples=3 * BLOCK), 1))[:, :10]
    other = next(resample_counts(50, "cd" * 32, resamples=10))
    assert (first == again).all()
    assert (first != other).any()


def test_the_draws_are_these_on_every_machine() -> None:
    """Philox 4x64-10 with this key, computed by hand from its words below."""
    words = np.random.Philox(key=int(HASH[:32], 16)).random_raw(3).tolist()
    halves = [half for word in words for half in (word & 0xFFFFFFFF, word >> 32)]
    drawn = [half * 5 >> 32 for half in halves[:5]]
    expected = [drawn.count(image) for image in range(5)]
    assert next(resample_counts(5, HASH, resamples=1))[:, 0].tolist() == expected
    assert expected == PINNED


PINNED = [1, 0, 1, 1, 2]


def test_no_image_is_drawn_more_often_than_another() -> None:
    total = sum(block.sum(1, dtype=np.int64) for block in resample_counts(20, HASH, 5000))
    assert np.abs(total - 5000).max() < 5 * np.sqrt(5000)


def test_nothing_to_draw_from() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        next(resample_counts(0, HASH))

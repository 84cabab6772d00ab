from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.confidence.accuracy import resampled_accuracies
from reports.confidence.average_precision import RankedClasses, resampled_maps
from reports.confidence.figures import in_blocks
from reports.confidence.resampling import BLOCK, block_counts, resample_counts

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


@given(st.integers(1, 90), st.integers(0, 40), st.integers(1, 40))
def test_a_block_is_the_same_wherever_the_others_begin(
    images: int, begin: int, columns: int
) -> None:
    whole = block_counts(images, "ab" * 32, 0, begin + columns)
    assert (block_counts(images, "ab" * 32, begin, columns) == whole[:, begin:]).all()


def test_draws_are_those_of_the_words_one_by_one() -> None:
    """Written out, for an odd number of images: the half of a word that is left is not used."""
    words = np.random.Philox(key=int("ab" * 16, 16))
    for sample in block_counts(501, "ab" * 32, 0, 300).T:
        raw = words.random_raw(251).tolist()
        halves = [half for word in raw for half in (word % 2**32, word >> 32)]
        drawn = [half * 501 >> 32 for half in halves[:501]]
        assert sample.tolist() == np.bincount(drawn, minlength=501).tolist()


@pytest.mark.parametrize("samples", [1, 7, 1000, 2500])
def test_figures_do_not_depend_on_the_number_of_processes(samples: int) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 3)) < 0.2).astype(np.int8)
    classes = RankedClasses(rng.normal(size=labels.shape) + labels, labels)
    hits = rng.random(200) < 0.5
    figures = [
        {"map": lambda counts, begin: resampled_maps(classes, counts)},
        {"top1": lambda counts, begin: resampled_accuracies(hits, counts) + begin % 2},
    ]
    found = [in_blocks(figures, 200, "ab" * 32, samples, processes=n) for n in (1, 2, 5)]
    for one in found[1:]:
        assert one[0]["map"].tobytes() == found[0][0]["map"].tobytes()
        assert one[1]["top1"].tobytes() == found[0][1]["top1"].tobytes()
    assert found[0][0]["map"].shape == (samples,)
    counts = np.concatenate(list(resample_counts(200, "ab" * 32, samples)), axis=1)
    np.testing.assert_allclose(found[0][0]["map"], resampled_maps(classes, counts), atol=1e-12)

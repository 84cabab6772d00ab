"""Bootstrap samples of a test set: how often each image is drawn, the same for every row.

The draws are a function of the list of test images alone: Philox, a counter-based generator whose
words are the same on every platform and in every version, keyed by the list's hash, and integer
arithmetic. So an interval does not change with the rows beside it, with threads or with machines,
and two rows of one dataset are always resampled alike.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
BLOCK = 1000  # resamples at once: 100 MB of counts for 50,000 images

Floats = NDArray[np.float64]
Counts = NDArray[np.uint16] | NDArray[np.int32]


def resample_counts(images: int, sha256: str, resamples: int = RESAMPLES) -> Iterator[Counts]:
    """Yield blocks of (images, b) counts, b at most `BLOCK`, `resamples` columns in all.

    Each column sums to `images`: as many draws with replacement as there are images. `sha256` is
    the hash of their list, in hexadecimal. `ValueError` for no images.
    """
    if images < 1:
        raise ValueError("there is nothing to draw from")
    words = np.random.Philox(key=int(sha256[:32] or "0", 16))
    for begin in range(0, resamples, BLOCK):
        columns = min(BLOCK, resamples - begin)
        yield _block(words, images, columns)


def _block(words: np.random.Philox, images: int, columns: int) -> Counts:
    """One draw of `images` for each column; a word of 64 bits is good for two."""
    width = np.uint16 if images < 2**16 else np.int32  # as `RankedClass` sums them
    counts = np.empty((columns, images), dtype=width)
    for column in range(columns):
        raw = words.random_raw((images + 1) // 2).view(np.uint32)[:images]
        # A word scaled to 0..images-1; no image is more likely than another by over images / 2^32.
        drawn = (raw.astype(np.uint64) * np.uint64(images)) >> np.uint64(32)
        counts[column] = np.bincount(drawn.astype(np.intp), minlength=images)
    return np.ascontiguousarray(counts.T)


def resample_draws(draws: int, sha256: str, begin: int, columns: int) -> NDArray[np.int64]:
    """Which of the `draws` of low-shot training each sample takes, (draws, columns) of 0..draws-1.

    For samples `begin` to `begin + columns`, by a generator of its own.
    """
    words = np.random.Philox(key=int(sha256[:32] or "0", 16), counter=1 << 192)
    raw = words.random_raw((begin + columns) * draws)[begin * draws :]
    chosen = ((raw >> np.uint64(32)) * np.uint64(draws)) >> np.uint64(32)
    return chosen.astype(np.int64).reshape(columns, draws).T

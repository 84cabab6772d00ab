"""Bootstrap samples of a test set: how often each image is drawn, the same for every row.

The draws are a function of the list of test images alone: Philox, a counter-based generator whose
words are the same on every platform and in every version, keyed by the list's hash, and integer
arithmetic. So an interval does not change with the rows beside it, with processes or with machines,
and two rows of one dataset are always resampled alike.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
BLOCK = 500  # resamples at once: VOC07's counts, 5 MB, stay in the cache
DRAWS = 2**16  # at once: what they are made of stays in the cache

Floats = NDArray[np.float64]
Counts = NDArray[np.uint16] | NDArray[np.int32]


def blocks(resamples: int, most: int = BLOCK) -> list[tuple[int, int]]:
    """The samples in blocks of at most `most`: where each begins, and how many it has."""
    return [(at, min(most, resamples - at)) for at in range(0, resamples, most)]


def resample_counts(images: int, sha256: str, resamples: int = RESAMPLES) -> Iterator[Counts]:
    """Yield blocks of (images, b) counts, `resamples` columns in all; see `block_counts`."""
    for begin, columns in blocks(resamples):
        yield block_counts(images, sha256, begin, columns)


def block_counts(images: int, sha256: str, begin: int, columns: int) -> Counts:
    """How often each image is drawn in samples `begin` to `begin + columns`, (images, columns).

    Each column sums to `images`: as many draws with replacement as there are images. `sha256` is
    the hash of their list, in hexadecimal. `ValueError` for no images.
    """
    if images < 1:
        raise ValueError("there is nothing to draw from")
    needed = (images + 1) // 2  # words of a sample: one of 64 bits is good for two draws
    words = np.random.Philox(key=int(sha256[:32] or "0", 16))
    words.advance(begin * needed // 4)  # a step of its counter makes four words
    words.random_raw(begin * needed % 4)
    width = np.uint16 if images < 2**16 else np.int32  # as `RankedClasses` sums them
    counts = np.empty((columns, images), dtype=width)
    for at in range(0, columns, chunk := max(1, DRAWS // images)):
        samples = min(chunk, columns - at)
        raw = words.random_raw(samples * needed).view(np.uint32).reshape(samples, -1)[:, :images]
        # A word scaled to 0..images-1; no image is more likely than another by over images / 2^32.
        drawn = np.multiply(raw, np.uint64(images), dtype=np.uint64)
        drawn >>= np.uint64(32)
        drawn += np.arange(samples, dtype=np.uint64)[:, None] * np.uint64(images)
        found = np.bincount(drawn.view(np.int64).ravel(), minlength=samples * images)
        counts[at : at + samples] = found.reshape(samples, images)
    return np.ascontiguousarray(counts.T)


def resample_draws(
    draws: int, sha256: str, begin: int, columns: int, source: str = "seed 0"
) -> NDArray[np.int64]:
    """Which of the `draws` of low-shot training each sample takes, (draws, columns) of 0..draws-1.

    For samples `begin` to `begin + columns`, by a generator of its own for each `source` of draws:
    the same draws are taken again together, others independently.
    """
    counter = (1 << 192) + (draws_stream(source) << 128)
    words = np.random.Philox(key=int(sha256[:32] or "0", 16), counter=counter)
    raw = words.random_raw((begin + columns) * draws)[begin * draws :]
    chosen = ((raw >> np.uint64(32)) * np.uint64(draws)) >> np.uint64(32)
    return chosen.astype(np.int64).reshape(columns, draws).T


def draws_stream(source: str) -> int:
    """The number, below 2^64, of the generator for draws of `seed N` (N itself) or of files."""
    kind, _, seed = source.partition(" ")
    if kind == "seed" and seed.isdecimal() and int(seed) < 2**63:
        return int(seed)
    return 2**63 + int(hashlib.sha256(source.encode()).hexdigest()[:15], 16)
